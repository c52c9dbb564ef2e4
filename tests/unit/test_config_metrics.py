"""Which way a metric is better follows from the metric, wherever it is written."""

from __future__ import annotations

import copy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.metrics import metric_of, monitored_metrics
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.config.upgrade import ADDED
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import digest_of
from fmnist_sweep.reproduction import check_before

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("metric", monitored_metrics())
def test_the_direction_follows_from_the_metric(metric: str) -> None:
    own = metric_of(metric).direction
    assert own == ("min" if metric.endswith(("loss", "ece")) else "max")
    for direction in (None, own):
        given = {"metric": metric, "direction": direction}
        assert Objective.model_validate(given).model_dump() == {**given, "direction": own}
    objective = Objective(metric=metric)
    assert objective.direction == own
    assert objective.better(0.2, None)
    assert objective.better(0.2, 0.1) == (own == "max")
    assert not objective.better(0.2, 0.2)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own sweep file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiments" / "sweep" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("space: {train: {batch_size: {choice: [32, 64]}}}\n")
    return path


@pytest.mark.slow
def test_a_metric_alone_decides_for_a_sweep_and_for_a_training(mine: Path) -> None:
    loss = Objective(metric="val_loss", direction="min")
    assert compose_config(["train.monitor.metric=val_loss"]).train.monitor == loss
    assert compose_config(["train.monitor={metric: val_loss}"]).train.monitor == loss
    typed = compose_config(["+sweep=mine", "sweep.objective.metric=val_loss"])
    mine.write_text(mine.read_text() + "sweep: {objective: {metric: val_loss}}\n")
    written = compose_config(["+sweep=mine"])
    for config in (typed, written):
        assert config.sweep.objective == config.train.monitor == loss


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sweep.objective", "train.monitor"])
@pytest.mark.parametrize(("metric", "wrong"), [("val_loss", "max"), ("val_accuracy", "min")])
def test_a_direction_that_contradicts_its_metric_is_refused(
    place: str, metric: str, wrong: str, mine: Path
) -> None:
    right, best = ("min", "lowest") if metric == "val_loss" else ("max", "highest")
    said = (
        f"{place}.direction={wrong} with metric={metric}: the best {metric} is the {best}; "
        f"allowed: {right}, or null, which follows from the metric"
    )
    for overrides in ([], ["+sweep=mine"]):
        with pytest.raises(ConfigError) as caught:
            compose_config([*overrides, f"{place}.metric={metric}", f"{place}.direction={wrong}"])
        assert str(caught.value) == said
    block, key = place.split(".")
    mine.write_text(f"{block}: {{{key}: {{metric: {metric}, direction: {wrong}}}}}\n")
    with pytest.raises(ConfigError) as caught:
        compose_config(["+sweep=mine"])
    assert str(caught.value) == said


def test_of_an_unknown_metric_only_the_metric_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config(["sweep.objective.metric=val_los"])
    assert str(caught.value) == (
        "sweep.objective.metric=val_los: must be one of val_accuracy, val_loss, "
        "val_balanced_accuracy, val_macro_f1, val_top3_accuracy, val_ece, accuracy, loss; "
        "did you mean val_loss?"
    )


def as_stored(config: Config) -> dict[str, object]:
    return {**config.model_dump(), "model": config.model.as_given()}


THERE_THEN = {
    "report", "display", "tracking.keep_checkpoints", "tracking.registered_model",
}  # fmt: skip
"""Keys of `ADDED` that were there when the digests were calculated."""


# Calculated before a direction followed from its metric: configs then wrote both.
@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("best/ablation", "de22871e8d7a3eb7aa634374a3b0e7f7a42022d0d75ea24bfb5740cf24b36ec0"),
        ("baseline/mlp", "be470a57bffafce4352696e031ba768ac7a334f48bc0157ba3c20300fef7e101"),
        ("baseline/wrapper", "b49a3929d7159eb43dce0b3a8d4508d42360c8a8f8f4277e8a33690ee2e07709"),
    ],
)
def test_an_exported_config_and_its_record_are_what_they_were(
    name: str, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    group, _, stem = name.partition("/")
    config = compose_config([f"+{group}={stem}"])
    then: Any = copy.deepcopy(as_stored(config))
    for path in set(ADDED) - THERE_THEN:
        *parents, key = path.split(".")
        del reduce(getitem, parents, then)[key]
    assert digest_of(then) == digest
    assert Config.model_validate(as_stored(config)) == config
    expected = config.expected
    assert expected is not None
    check_before(expected, config.run, expected.data_sha256, expected.split_sha256, name)


def test_a_record_that_maximised_a_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = compose_config(["+baseline=mlp"])
    expected = config.expected
    assert expected is not None
    was = expected.config.replace('"metric":"val_accuracy"', '"metric":"val_loss"')
    assert was != expected.config
    wrong = expected.model_copy(update={"config": was})
    with pytest.raises(
        ConfigError, match=r"expected\.config: train\.monitor\.direction=max with metric=val_loss"
    ):
        check_before(wrong, config.run, expected.data_sha256, expected.split_sha256, "mlp")
