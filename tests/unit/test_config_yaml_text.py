"""YAML that is written reads back to the same values, whatever they look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.yaml_text import config_yaml, read_config_yaml, to_yaml

LOOKS_LIKE_SOMETHING_ELSE = st.sampled_from(
    ["1e-4", "1_000", "on", "No", "null", "~", "0x1f", "0o7", "12:30", "2026-11-22", ".5", "1.",
     "=", "nan", ".inf", "", " a", "a ", "- a", "a: b", "a #b", "'", '"', "[", "{}", "!tag", "&a",
     "*a", "%", "@", "`", "two\nlines", "tab\t", "ü", "\u2028", "true", "y"]
)  # fmt: skip
TEXTS = LOOKS_LIKE_SOMETHING_ELSE | st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS.filter(lambda text: "${" not in text)
)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,15}", fullmatch=True)
TREES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=7),
    max_leaves=25,
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(KEYS, TREES, max_size=8))
def test_what_is_written_reads_back(values: dict[str, Any]) -> None:
    assert OmegaConf.to_container(OmegaConf.create(to_yaml(values))) == values


def test_a_config_reads_back() -> None:
    for overrides in ((), ("+sweep=cnn",), ("train.optimizer.learning_rate=1e-5",)):
        config = compose_config(overrides).run
        assert read_config_yaml(config_yaml(config)) == config
