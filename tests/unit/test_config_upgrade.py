"""Configs of earlier versions are read as today's, and stay what they were."""

from __future__ import annotations

import copy
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.datafiles import read_data_file
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.upgrade import ADDED, ADDED_TO_DATA, upgraded, without_additions

SOME_KEYS = st.sets(st.sampled_from(sorted(ADDED)))


@cache
def _today() -> dict[str, Any]:
    return compose_config(["+sweep=smoke"]).model_dump()


def _place(config: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *parents, key = path.split(".")
    for parent in parents:
        config = config[parent]
    return config, key


def _without(paths: Collection[str]) -> dict[str, Any]:
    """A config as a version wrote it that did not have these keys."""
    config = copy.deepcopy(_today())
    for path in paths:
        node, key = _place(config, path)
        del node[key]
    return config


@pytest.mark.parametrize("path", ADDED)
def test_each_added_key_is_one_of_today_s_config(path: str) -> None:
    node, key = _place(_today(), path)
    assert key in node


@given(SOME_KEYS)
def test_a_config_without_some_of_the_keys_is_valid_and_means_what_it_did(
    missing: set[str],
) -> None:
    old = _without(missing)
    config = Config.model_validate(upgraded(old)).model_dump()
    for path in missing:
        node, key = _place(config, path)
        meant = node[key]
        # A group's file may say more than its name.
        assert meant == ADDED[path] or meant["name"] == ADDED[path]["name"]
    for path in set(ADDED) - missing:
        (node, key), (before, _) = _place(config, path), _place(_today(), path)
        assert node[key] == before[key]


@given(SOME_KEYS)
def test_a_digest_does_not_depend_on_keys_that_mean_what_was_meant_before(
    missing: set[str],
) -> None:
    old = _without(missing)
    assert without_additions(upgraded(old)) == without_additions(old)


@pytest.mark.parametrize("change", [upgraded, without_additions])
def test_what_is_given_is_not_changed(change: Any) -> None:
    old = _without(list(ADDED)[:1])
    before = copy.deepcopy(old)
    change(old)
    assert old == before


def test_a_part_of_a_config_gets_the_keys_of_its_parts_alone() -> None:
    part = {"sweep": {}, "train": {}}
    in_sweep = {path.removeprefix("sweep.") for path in ADDED if path.startswith("sweep.")}
    changed = upgraded(part)
    assert set(changed) == {"sweep", "train"}
    assert set(changed["sweep"]) == in_sweep


def test_a_key_whose_value_is_another_counts() -> None:
    config = copy.deepcopy(_today())
    config["tracking"]["registered_model"] = "mine"
    assert without_additions(config)["tracking"]["registered_model"] == "mine"


OLD_DATA: dict[str, dict[str, Any]] = {
    "csv": {
        "source": "csv", "train_file": "a.csv", "val_file": None, "image_size": [28, 28],
        "class_names": None, "limit": None,
    },
    "npz": {"source": "npz", "file": "a.npz", "class_names": None, "limit": None},
}  # fmt: skip


@pytest.mark.parametrize("source", ADDED_TO_DATA)
def test_data_of_earlier_versions_mean_what_they_did(source: str) -> None:
    old = {**_today(), "data": OLD_DATA[source]}
    data = Config.model_validate(upgraded(old)).model_dump()["data"]
    assert data == {**OLD_DATA[source], **ADDED_TO_DATA[source]}
    assert without_additions({"data": data}) == {"data": OLD_DATA[source]}
    other = {**data, "pixel_max": 1}
    assert without_additions({"data": other})["data"]["pixel_max"] == 1


@pytest.mark.parametrize("source", ADDED_TO_DATA)
def test_an_exported_file_of_an_earlier_version_means_what_it_did(
    source: str, tmp_path: Path
) -> None:
    content = {"schema_version": 1, "data": OLD_DATA[source], "expected": {"metrics": {}}}
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(content))
    assert read_data_file(path).data == {**OLD_DATA[source], **ADDED_TO_DATA[source]}
    path.write_text(yaml.safe_dump({**content, "data": {"source": source}}))  # not exported
    assert read_data_file(path).data == {"source": source}
    del content["expected"]
    path.write_text(yaml.safe_dump(content))
    assert read_data_file(path).data == OLD_DATA[source]
