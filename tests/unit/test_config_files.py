"""Every YAML file that ships, or was exported, composes and validates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmnist_sweep.config.compose import compose
from fmnist_sweep.config.datafiles import DATA_GROUPS, OVERRIDABLE
from fmnist_sweep.config.shipped import shipped_conf_dir
from fmnist_sweep.files import canonical_json

CONF = shipped_conf_dir()
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SHIPPED = sorted(CONF.rglob("*.yaml"))
EXPORTED = sorted(EXPERIMENTS.rglob("*.yaml"))
# What the shipped files leave to be given (`???`).
NEEDED = {
    "csv": ["data.train_file=train.csv"],
    "npz": ["data.file=arrays.npz"],
    "folder": ["data.dir=pictures"],
    "parquet": ["data.file=train.parquet"],
}


def test_each_group_has_files() -> None:
    assert {path.parent.name for path in SHIPPED} >= {*OVERRIDABLE, CONF.name}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONF)))
def test_shipped_file_composes(path: Path) -> None:
    group, name = path.parent.relative_to(CONF).as_posix(), path.stem
    if path == CONF / "config.yaml":
        config, _ = compose()
        assert not config.is_sweep
    elif group in DATA_GROUPS:
        config, composition = compose([f"+{group}={name}"])
        assert composition.selected == {group: name}
        assert config.is_sweep == (group == "sweep")
    else:
        assert group in OVERRIDABLE
        config, _ = compose([f"{group}={name}", *NEEDED.get(name, [])])
        tag = {"data": "source", "split": "scheme", "tuner": "name", "executor": "name"}.get(group)
        if tag is not None:
            assert getattr(getattr(config, group), tag) == name


@pytest.mark.parametrize(
    "path", sorted((CONF / "sweep").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_shipped_sweep_has_one_form_in_json(path: Path) -> None:
    config, _ = compose([f"+sweep={path.stem}"])
    assert json.loads(canonical_json(config.model_dump()))["space"] == config.space


@pytest.mark.parametrize("path", EXPORTED, ids=lambda path: str(path.relative_to(EXPERIMENTS)))
def test_exported_file_composes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXPERIMENTS.parent)
    group = path.parent.relative_to(EXPERIMENTS).as_posix()
    assert group in DATA_GROUPS
    _, composition = compose([f"+{group}={path.stem}"])
    assert composition.selected == {group: path.stem}


def test_defaults_are_the_article_s_network() -> None:
    model = compose()[0].model
    assert [block.channels for block in model.conv_blocks] == [32, 64, 128]
    assert [block.pool for block in model.conv_blocks] == [1, 2, 2]
    assert [layer.neurons for layer in model.fc_layers] == [512, 256]


def test_tracking_can_be_switched_off() -> None:
    assert compose()[0].tracking.enabled
    assert not compose(["tracking=off"])[0].tracking.enabled
