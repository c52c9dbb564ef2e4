"""A sweep's identity and name: the same command resumes, another config is another sweep."""

from __future__ import annotations

import dataclasses
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from search_fakes import SMALL_DATA, config_with

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.errors import ConfigError, JournalError
from fmnist_sweep.files import canonical_json, check_writable, digest_of
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.identity import check_same_sweep, sweep_identity, sweep_name
from fmnist_sweep.journal.records import SCHEMA, Begun
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.sweep.plan import SweepPlan, plan_sweep
from fmnist_sweep.training.preparation import with_threads
from fmnist_sweep.workspace import Workspace

MINE = """
defaults: [override /model: small_cnn]
train: {epochs: 2}
sweep: {max_trials: 3}
space:
  train:
    batch_size: {choice: [16, 32]}
    optimizer:
      name: {choice: [adam, sgd]}
      momentum: {float: [0.1, 0.9], when: {train.optimizer.name: [sgd]}}
variants:
  plain: {}
  smoothed: {train.label_smoothing: 0.1}
"""
DATA = [o for o in SMALL_DATA if not o.startswith("model=")]


@pytest.fixture(autouse=True)
def in_a_folder_with_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "sweep").mkdir(parents=True)
    (tmp_path / "experiments" / "sweep" / "mine.yaml").write_text(MINE)
    # Nothing is trained here, and another test may have started TensorFlow in this process.
    monkeypatch.setattr(runtime, "use_threads", lambda threads: None)


def plan(*overrides: str, **arguments: Any) -> SweepPlan:
    config, composition = compose(["+sweep=mine", *DATA, *overrides])
    return plan_sweep(
        config,
        arguments.get("build_model"),
        None,
        label=composition.selected["sweep"],
        pinned=composition.overridden_keys,
        workspace=Workspace.here(),
    )


@cache
def identity(*overrides: str) -> str:
    """The identity that a plan would find, without what else a plan checks."""
    config, composition = compose(["+sweep=mine", *DATA, *overrides])
    config = with_threads(config)
    dataset = load_dataset(config.data)
    split = make_split(config.split, dataset)
    space, _ = read_space(config, composition.overridden_keys)
    return canonical_json(sweep_identity(config, space, dataset.sha256, split.sha256, None))


def begin(made: SweepPlan, at: float = 1.0) -> None:
    begun = Begun(SCHEMA, made.name, made.identity, "python", at)
    Journal(made.folder / JOURNAL_FILE).append(begun)


@pytest.mark.slow
def test_the_same_command_is_the_same_sweep() -> None:
    first, second = plan(), plan()
    assert first.name == second.name
    assert first.name.startswith("synthetic-mine-")
    assert len(first.name.removeprefix("synthetic-mine-")) == 6
    begin(first)
    assert plan().name == first.name
    assert canonical_json(first.identity) == identity()


@pytest.mark.parametrize(
    "override",
    [
        "space.train.batch_size.choice=[16]", "space.train.batch_size.choice=[32,16]",
        "space.train.optimizer.momentum.float=[0.1,0.9000001]", "~space.train.batch_size",
        "+space.train.optimizer.momentum.log=true", "+space.train.optimizer.momentum.step=0.2",
        "space.train.optimizer.momentum.when={train.optimizer.name: [adam]}", "train.batch_size=16",
        "+variants.more={train.label_smoothing: 0.2}", "+variants.plain={train.seed: 3}",
        "~variants.plain", "train.epochs=3", "train.seed=2", "train.precision=mixed_bfloat16",
        "train.threads=1", "model.head.dropout=0.1", "model=fashion_mnist_cnn", "tuner.seed=2",
        "tuner=grid", "tuner=bayesian", "data.noise=0.2", "data.train_size=500", "split.seed=3",
        "split.test=50", "sweep.objective.metric=val_loss",
        "sweep.start_with=[{}]", "sweep.start_with=[{train.seed: 4}]", "sweep.max_parameters=90000",
        "sweep.max_mflops=50",
    ],
)  # fmt: skip
def test_what_decides_on_points_and_scores_makes_another_sweep(override: str) -> None:
    assert identity(override) != identity()


@pytest.mark.parametrize(
    "override",
    [
        "sweep.max_trials=30", "sweep.max_epochs_total=50", "sweep.max_minutes=5",
        "sweep.max_failure_rate=1.0", "sweep.confirm={top: 2, seeds: 2}", "tracking=mlflow",
        "tracking.note=new", "+tracking.tags.a=b", "tracking.experiment=mine", "executor=inline",
        "sweep.objective.direction=max", "train.monitor.direction=max",
    ],
)  # fmt: skip
def test_what_does_not_leaves_it_the_same(override: str) -> None:
    assert identity(override) == identity()


# Calculated before a direction followed from its metric: configs then wrote both.
@pytest.mark.parametrize(
    ("overrides", "digest"),
    [
        (["+sweep=cnn"], "b8ffd5aa7f156f0516e174f0401b25c230aa205f73edb015d2a5e3a3265613b3"),
        (["+sweep=ablation"], "02e0eb39eb0e71b019683f887dc5fa26f5f00ce465e9e172c9044a7369b1e915"),
        (
            ["+sweep=cnn", "sweep.objective.metric=val_loss"],
            "99469dcb38e4813880ae6d8602fb775e3d6e36fe62e97adf9534e2612fed03b4",
        ),
    ],
)
def test_a_sweep_of_an_earlier_version_has_the_same_identity(
    overrides: list[str], digest: str
) -> None:
    config, _ = compose(overrides)
    space, _ = read_space(config)
    assert digest_of(sweep_identity(config, space, "d" * 64, "s" * 64, None)) == digest


def test_an_objective_that_was_changed_from_python_decides_on_the_best_epoch_too() -> None:
    config, _ = compose(["+sweep=mine", *DATA])
    sweep = config.sweep.model_copy(update={"objective": Objective(metric="val_loss")})
    config = config.model_copy(update={"sweep": sweep})
    assert config.train.monitor.metric == "val_accuracy"
    planned = plan_sweep(config, None, None, label="mine", pinned=(), workspace=Workspace.here())
    assert planned.config.train.monitor == Objective(metric="val_loss", direction="min")


def test_values_that_look_alike_are_told_apart() -> None:
    def of(*values: Any) -> dict[str, Any]:
        config = config_with({"model": {"conv_defaults": {"pad": {"choice": list(values)}}}})
        return sweep_identity(config, read_space(config)[0], "d", "s", None)

    identities = [of(0, 1), of(1, 0), of("same", "valid"), of(0, "same")]
    assert len({json.dumps(i) for i in identities}) == 4


def test_the_order_of_the_leaves_decides_what_is_drawn_and_is_part_of_it() -> None:
    leaves = {"batch_size": {"choice": [1, 2]}, "seed": {"choice": [1, 2]}}
    turned = dict(reversed(leaves.items()))
    identities = []
    for train in (leaves, turned):
        config = config_with({"train": train})
        identities.append(sweep_identity(config, read_space(config)[0], "d", "s", None))
    with pytest.raises(ConfigError, match="space_order was"):
        check_same_sweep("mine", *identities)


def builder_a(config: Config, shape: Any, classes: int) -> None:
    """One network."""


def builder_b(config: Config, shape: Any, classes: int) -> None:
    """Another."""


@pytest.mark.slow
def test_a_builder_of_one_s_own_is_known_by_its_code() -> None:
    names = [plan(build_model=builder).name for builder in (None, builder_a, builder_b, builder_a)]
    assert names[1] == names[3]
    assert len(set(names)) == 3


WIDTH = 4


def width() -> int:
    return WIDTH


def builder_c(config: Config, shape: Any, classes: int) -> int:
    """A third."""
    return width()


@pytest.mark.slow
def test_an_edit_of_what_a_builder_uses_makes_another_sweep_which_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, named = plan(build_model=builder_c), plan("sweep.name=own", build_model=builder_c)
    begin(first)
    begin(named)
    assert first.remarks == []
    monkeypatch.setitem(globals(), "WIDTH", 5)
    edited = plan(build_model=builder_c)
    assert edited.name != first.name
    (remark, _) = edited.remarks
    assert f"has the same config, but another build_model: {__name__}.WIDTH changed" in remark
    with pytest.raises(ConfigError, match=rf"build_model\.reaches\.{__name__}\.WIDTH was "):
        plan("sweep.name=own", build_model=builder_c)


@pytest.mark.slow
def test_an_edit_made_many_times_tells_of_the_latest_sweeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(6):
        monkeypatch.setitem(globals(), "WIDTH", number)
        made = plan(build_model=builder_c)
        begin(made, at=float(number))
    monkeypatch.setitem(globals(), "WIDTH", 6)
    *latest, rest = plan(build_model=builder_c).remarks
    assert f"sweep {made.name} has the same config" in latest[0]
    assert len(latest) == 3
    assert rest == "3 older sweeps have it too"


@pytest.mark.slow
@pytest.mark.parametrize("named", [[], ["sweep.name=own"]])
def test_a_sweep_of_before_builders_were_known_by_what_they_reach_goes_on(
    named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(*named, build_model=builder_c)
    source = digest_of(inspect.getsource(builder_c))
    recorded = {"name": f"{__name__}.builder_c", "sha256": source}
    identity = {**made.identity, "build_model": recorded}
    name = named[0].partition("=")[2] if named else f"synthetic-mine-{digest_of(identity)[:6]}"
    begin(dataclasses.replace(
        made, name=name, folder=made.folder.with_name(name), identity=identity
    ))  # fmt: skip
    (remark,) = (again := plan(*named, build_model=builder_c)).remarks
    assert again.name == name
    assert remark.startswith(f"sweep {name} was begun by a version that recorded build_model's own")

    monkeypatch.setitem(globals(), "builder_c", builder_b)  # its own source was edited
    monkeypatch.setattr(builder_b, "__qualname__", "builder_c")
    if named:
        with pytest.raises(ConfigError, match=r"build_model\.sha256 was "):
            plan(*named, build_model=builder_b)
    else:
        other = plan(build_model=builder_b)
        assert other.name != name
        assert "another build_model" in other.remarks[0]


@pytest.mark.slow
def test_other_threads_are_another_sweep_which_says_what_to_add() -> None:
    first = plan("train.threads=3")
    begin(first)
    here = plan("train.threads=2")
    assert here.name != first.name
    (remark,) = here.remarks
    assert (
        f"sweep {first.name} has the same config, but train.threads=3, here 2 (add train.threads=3 "
        "to resume it)"
    ) in remark
    assert plan("train.threads=3").remarks == []
    assert plan("train.threads=2", "train.seed=3").remarks == []  # another config


@pytest.mark.slow
def test_threads_that_are_given_are_the_same_as_those_that_were_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "cores", lambda: 6)
    assert plan().name == plan("train.threads=6").name
    halves = ["executor=processes", "executor.workers=2"]
    assert (
        plan(*halves).name == plan(*halves, "train.threads=3").name == plan("train.threads=3").name
    )


def test_a_name_of_one_s_own_is_taken_as_it_is() -> None:
    assert plan("sweep.name=my_own").name == "my_own"
    config = config_with(sweep__name=None)
    assert sweep_name(config, "label", {"a": 1}).startswith("label-")


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".hidden", "", "a b", "x" * 101, "/etc"])
def test_a_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^sweep.name=.*: must be a name of at most 100"):
        plan(f"sweep.name='{name}'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "differences"),
    [
        ("train.seed=2", "train.seed was 1, is 2"),
        ("tuner.seed=2", "tuner.seed was 1, is 2"),
        ("space.train.batch_size.choice=[16]",
         "space.train.batch_size.Choice.values was [16,32], is [16]"),
        ("~space.train.batch_size", "space.train.batch_size was "),
        ("data.noise=0.2", "data was "),
        ("sweep.start_with=[{}]", "start_with was [], is [{}]"),
    ],
)  # fmt: skip
def test_a_name_of_another_identity_is_refused_with_the_keys_that_differ(
    override: str, differences: str
) -> None:
    begin(plan("sweep.name=my_own"))
    with pytest.raises(ConfigError) as raised:
        plan("sweep.name=my_own", override)
    said = str(raised.value)
    assert said.startswith("sweep.name=my_own belongs to another sweep: ")
    assert differences in said
    assert "\n" not in said


def test_a_name_of_one_s_own_goes_on_under_another_budget() -> None:
    begin(plan("sweep.name=my_own"))
    assert plan("sweep.name=my_own", "sweep.max_trials=9").name == "my_own"


def test_many_differences_are_counted() -> None:
    begin(plan("sweep.name=my_own"))
    with pytest.raises(ConfigError, match=r"; and \d+ more\. Use another name, or the config"):
        plan("sweep.name=my_own", "model=fashion_mnist_cnn")


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    made = plan()
    assert [path.name for path in tmp_path.iterdir()] == ["experiments"]
    assert made.folder == tmp_path / "mlruns" / "sweeps" / made.name
    assert made.pinned == []
    assert made.epochs == 2


def test_a_plan_tells_what_is_pinned() -> None:
    assert plan("train.batch_size=8").pinned == ["train.batch_size"]


MISTAKES = [
    (["sweep.max_trials=null"], "sweep: tuner random needs a budget"),
    (["~space", "~variants"], "space: missing"),
    (["~space.train", "~variants.plain", "~variants.smoothed"],
     "space: there is nothing to search; give it at least one leaf"),
    (["sweep.start_with=[{train.sed: 1}]"],
     "sweep.start_with.0.train.sed: unknown key; did you mean seed?"),
    (["sweep.start_with=[{}, {data.limit: 1}]"],
     "sweep.start_with.1.data.limit: cannot be searched; allowed: model.*, train.*"),
    (["sweep.start_with=[{train: {seed: -1}}]"], "sweep.start_with.0: train.seed=-1: must be at"),
    (["sweep.start_with=[{model.conv_blocks.count: 9}]"], "sweep.start_with.0: "),
    (["sweep.max_parameters=1"], "space: none of 200 points drawn from it can be tried; the first"),
    (["sweep.objective.metric=test_accuracy"],
     "sweep.objective.metric=test_accuracy: must be one of val_accuracy, val_loss"),
    (["sweep.objective.metric=loss"], "sweep.objective.metric=loss is not a validation metric"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "line"), MISTAKES, ids=[line for _, line in MISTAKES])
def test_a_sweep_that_cannot_be_is_refused_and_leaves_nothing(
    overrides: list[str], line: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        plan(*overrides)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["experiments"]


def test_a_split_without_a_validation_set_has_nothing_to_search_by() -> None:
    config, _ = compose(["+sweep=mine", "data=synthetic", "data.train_size=400", "split=official"])
    with pytest.raises(
        ConfigError, match=r"^sweep.objective.metric=val_accuracy: split official h"
    ):
        plan_sweep(config, None, None, label="mine", pinned=(), workspace=Workspace.here())


def test_an_output_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(
        ConfigError, match=r"mlruns.sweeps: is not writable; allowed: a writable folder"
    ):
        check_writable(tmp_path / "mlruns" / "sweeps")
    check_writable(tmp_path / "experiments" / "best")
    assert not (tmp_path / "experiments" / "best").exists()


def test_a_journal_without_its_first_line_stops_the_plan(tmp_path: Path) -> None:
    made = plan()
    begin(made)
    path = made.folder / JOURNAL_FILE
    path.write_bytes(b'{"kind":"ended","reason":"","at":1.0}\n')
    with pytest.raises(JournalError, match=r"line 1: the first record is not `begun`"):
        plan()


def test_a_journal_that_cannot_be_read_stops_the_plan(tmp_path: Path) -> None:
    made = plan()
    begin(made)
    path = made.folder / JOURNAL_FILE
    path.write_bytes(path.read_bytes() + b"garbage\n")
    with pytest.raises(JournalError, match="line 2 cannot be read"):
        plan()
