"""The loop: trials, rungs and what they are of; budgets; failures; the executor's seam."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from search_fakes import (
    ENVIRONMENT,
    InstantExecutor,
    LateExecutor,
    config_with,
    plan_of,
    prepared,
    run,
    told,
    train_at_once,
)

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError, RunError, SweepStopped
from fmnist_sweep.executors.inline import InlineExecutor
from fmnist_sweep.executors.protocol import OnEpoch, Place, Rung, RungOutcome, TrainedElsewhere
from fmnist_sweep.journal.records import (
    Asked,
    EpochEnded,
    FoundInfeasible,
    RunsIn,
    Told,
    TrialStatus,
)
from fmnist_sweep.sweep.budget import check_budget
from fmnist_sweep.training.checkpoint import CheckpointFolder
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.tuners.keras_tuner import KerasTuner

SPACE: dict[str, Any] = {
    "train": {
        "batch_size": {"choice": [16, 32, 64, 128]},
        "optimizer": {"learning_rate": {"float": [1e-4, 1e-2], "log": True}},
    }
}


def sweep(tuner: str = "random", space: dict[str, Any] | None = None, **values: Any) -> Config:
    return config_with(space or SPACE, tuner=tuner, **values)


def never(config: RunConfig) -> bool:
    return False


def always(config: RunConfig) -> bool:
    return True


# --- what is run --------------------------------------------------------------------------------


def test_every_record_counts_once_it_is_on_disk(tmp_path: Path) -> None:
    seen = []

    def observer(record: Any, state: Any) -> None:
        lines = (tmp_path / "journal.jsonl").read_text().splitlines()
        seen.append(record)
        assert len(lines) == len(seen)

    end = run(sweep(sweep__max_trials=3, train__epochs=2), tmp_path, observer=observer)
    assert seen == end.journal.records
    kinds = Counter(type(record).__name__ for record in seen)
    assert kinds == {"Asked": 3, "RunsIn": 1, "EpochEnded": 6, "Told": 3}


def test_a_rung_is_trained_with_the_config_that_the_journal_names(tmp_path: Path) -> None:
    end = run(sweep(sweep__max_trials=4), tmp_path)
    for asked, rung in zip(end.state.asks, end.executor.rungs, strict=True):
        train = rung.config.train
        assert asked.overrides == {
            "train.batch_size": train.batch_size,
            "train.optimizer.learning_rate": train.optimizer.learning_rate,
        }
        assert rung.folder == tmp_path / "trials" / f"{asked.trial:04d}"


def test_a_promoted_trial_keeps_its_number_and_its_folder(tmp_path: Path) -> None:
    end = run(sweep("hyperband", train__epochs=9, sweep__max_trials=9), tmp_path)
    rungs = {(a.first_epoch, a.last_epoch): a.rung for a in end.state.asks}
    assert rungs == {(0, 1): 0, (1, 3): 1, (3, 9): 2}
    assert len(end.state.trials) == 9
    for asked, rung in zip(end.state.asks, end.executor.rungs, strict=True):
        assert rung.folder == tmp_path / "trials" / f"{asked.trial:04d}"
        assert rung.last_epoch == asked.last_epoch
    longest = [t for t in end.state.trials.values() if t.last_epoch == 9]
    assert [record.epoch for record in longest[0].history] == list(range(1, 10))
    assert end.state.epochs_total == sum(len(t.history) for t in end.state.trials.values())


def test_each_trial_is_trained_as_long_as_its_own_config_says(tmp_path: Path) -> None:
    config = sweep(
        space={"train": {"epochs": {"choice": [2, 3, 4]}}},
        sweep__max_trials=5,
        sweep__start_with=[{}, {"train.epochs": 7}],
        train__epochs=5,
    )
    end = run(config, tmp_path)
    assert [r.last_epoch for r in end.executor.rungs] == [
        r.config.train.epochs for r in end.executor.rungs
    ]
    assert sorted(r.last_epoch for r in end.executor.rungs) == [2, 3, 4, 5, 7]


def test_a_budget_in_steps_makes_epochs_of_a_trial_s_own_batches(tmp_path: Path) -> None:
    config = sweep(
        space={"train": {"batch_size": {"choice": [20, 50]}}},
        tuner="grid",
        train__epochs=None,
        train__steps=20,
    )
    end = run(config, tmp_path)
    images = len(prepared().split.train)
    assert images == 200
    epochs = {r.config.train.batch_size: r.last_epoch for r in end.executor.rungs}
    assert epochs == {20: 2, 50: 5}


def test_start_with_comes_first_and_in_its_order(tmp_path: Path) -> None:
    start = [{"train.seed": 8}, {}, {"train": {"optimizer": {"name": "sgd"}}}]
    end = run(sweep(sweep__max_trials=5, sweep__start_with=start), tmp_path)
    overrides = [asked.overrides for asked in end.state.asks]
    assert overrides[:3] == [{"train.seed": 8}, {}, {"train.optimizer.name": "sgd"}]
    assert all(
        set(o) == {"train.batch_size", "train.optimizer.learning_rate"} for o in overrides[3:]
    )
    assert end.executor.rungs[1].config == sweep().run
    assert [asked.oracle_id is None for asked in end.state.asks] == [True] * 3 + [False] * 2


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_start_with_counts_as_trials(tuner: str, tmp_path: Path) -> None:
    space = {"train": {"batch_size": {"choice": [8, 16, 32]}}}
    end = run(sweep(tuner, space, sweep__max_trials=2, sweep__start_with=[{}, {}, {}]), tmp_path)
    assert [asked.oracle_id for asked in end.state.asks] == [None, None]


def test_infeasible_points_are_neither_trials_nor_failures(tmp_path: Path) -> None:
    config = sweep("grid", {"train": {"batch_size": {"int": [1, 10]}}})

    def why(point: Any) -> str | None:
        return "odd" if point["train.batch_size"] % 2 else None

    end = run(config, tmp_path, why_infeasible=why)
    found = [r for r in end.journal.records if isinstance(r, FoundInfeasible)]
    assert [r.reason for r in found] == ["odd"] * 5
    assert end.state.infeasible == 5
    assert [a.overrides["train.batch_size"] for a in end.state.asks] == [2, 4, 6, 8, 10]
    assert sorted(end.state.trials) == [0, 1, 2, 3, 4]
    assert not end.state.failed_trials


@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_a_space_that_is_used_up_ends_the_sweep(tuner: str, tmp_path: Path) -> None:
    config = sweep(tuner, {"train": {"batch_size": {"choice": [8, 16, 32]}}}, sweep__max_trials=9)
    end = run(config, tmp_path)
    assert end.reason == f"tuner {tuner} has nothing more to propose"
    assert len(end.state.trials) == 3


@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_no_larger_budget_is_wanted_for_a_space_that_is_used_up(tuner: str, tmp_path: Path) -> None:
    space = {"train": {"batch_size": {"choice": [8, 16, 32]}}}

    def reason(most: int, **values: Any) -> str:
        return run(sweep(tuner, space, sweep__max_trials=most, **values), tmp_path).reason

    assert reason(2) == "sweep.max_trials=2 is reached"
    for most in (3, 3, 9):
        assert reason(most) == f"tuner {tuner} has nothing more to propose"
    # What was to be tried first is no part of the space, and neither was it tried.
    first = [{"train": {"seed": seed}} for seed in (7, 8, 9, 10)]
    assert reason(3, sweep__start_with=first) == "sweep.max_trials=3 is reached"


def test_a_point_that_no_budget_allowed_is_left_to_propose(tmp_path: Path) -> None:
    config = sweep(
        "random",
        {"train": {"batch_size": {"choice": [8, 16]}}},
        train__epochs=2,
        sweep__max_epochs_total=3,
    )
    end = run(config, tmp_path)
    assert end.reason == "sweep.max_epochs_total=3 is used up: 4 are needed to go on"


# --- budgets ------------------------------------------------------------------------------------


def test_max_trials_counts_trials_not_rungs(tmp_path: Path) -> None:
    end = run(sweep("hyperband", train__epochs=3, sweep__max_trials=4), tmp_path)
    assert end.reason == "sweep.max_trials=4 is reached"
    assert (len(end.state.trials), len(end.state.asks)) == (4, 5)


@pytest.mark.parametrize("tuner", ["random", "hyperband"])
@pytest.mark.parametrize("total", [4, 5, 11, 20])
def test_max_epochs_total_is_never_overrun(tuner: str, total: int, tmp_path: Path) -> None:
    end = run(sweep(tuner, train__epochs=4, sweep__max_epochs_total=total), tmp_path)
    assert end.reason.startswith(f"sweep.max_epochs_total={total} is used up")
    assert total - 4 < end.state.epochs_total <= total


def test_max_minutes_are_those_spent_in_rungs_and_ends_between_rungs(tmp_path: Path) -> None:
    slow = InstantExecutor(seconds=25.0)
    end = run(sweep(sweep__max_minutes=1.0), tmp_path, slow)
    assert end.reason == "sweep.max_minutes=1 is used up"
    assert len(end.state.trials) == 3
    # A resume has spent what the journal says.
    again = run(sweep(sweep__max_minutes=1.0), tmp_path, slow)
    assert len(again.state.trials) == 3


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_have_the_minutes_each(workers: int, tmp_path: Path) -> None:
    slow = LateExecutor(seconds=25.0, workers=workers)
    end = run(sweep(sweep__max_minutes=1.0), tmp_path, slow)
    assert end.reason == "sweep.max_minutes=1 is used up"
    assert end.state.rung_seconds >= 60.0 * workers
    least = -(-60 * workers // 25)
    assert least <= len(end.state.trials) < least + workers


def test_the_first_budget_that_is_used_up_ends_the_sweep(tmp_path: Path) -> None:
    limits = {"sweep__max_trials": 5, "sweep__max_epochs_total": 6, "sweep__max_minutes": 9.0}
    end = run(sweep(train__epochs=2, **limits), tmp_path)
    assert end.reason.startswith("sweep.max_epochs_total=6 is used up")


def test_a_bayesian_sweep_at_its_end_fits_no_surrogate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[int] = []
    propose = KerasTuner.propose
    monkeypatch.setattr(
        KerasTuner, "propose", lambda self, n: (asks.append(n), propose(self, n))[1]
    )
    run(sweep("bayesian", sweep__max_trials=3), tmp_path)
    assert asks == [0, 1, 2]


def check(config: Config) -> None:
    scheduler = plan_of(config, Path()).open_scheduler(lambda values, reason: None)
    check_budget(config, config.train.epochs or 0, scheduler)


@pytest.mark.parametrize(
    ("tuner", "values", "line"),
    [
        ("random", {}, "sweep: tuner random needs a budget; set sweep.max_trials, sweep."),
        ("bayesian", {}, "sweep: tuner bayesian needs a budget; set sweep.max_trials"),
        ("hyperband", {}, "sweep: tuner hyperband needs a budget; set sweep.max_trials"),
        ("random", {"sweep__max_epochs_total": 4},
         "sweep.max_epochs_total=4: must be at least 5, the epochs of the first trial"),
        ("hyperband", {"sweep__max_epochs_total": 1, "train__epochs": 8},
         "sweep.max_epochs_total=1: must be at least 3, the epochs of the first trial"),
        ("hyperband",
         {"sweep__max_epochs_total": 3, "train__epochs": 8, "sweep__start_with": [{}]},
         "sweep.max_epochs_total=3: must be at least 8, the epochs of the first trial"),
        ("hyperband", {"sweep__max_trials": 3, "train__epochs": None, "train__steps": 9},
         "train.epochs=null: hyperband needs a budget in epochs"),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be(tuner: str, values: dict[str, Any], line: str) -> None:
    config = sweep(tuner, **values)
    with pytest.raises(ConfigError) as raised:
        check(config)
    assert str(raised.value).startswith(line)


@pytest.mark.parametrize("epochs", [1, 2, 3, 8, 9, 10, 27, 50])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_smallest_budget_that_is_accepted_gets_hyperband_its_first_trial(
    epochs: int, factor: int, tmp_path: Path
) -> None:
    accepted = None
    for total in range(1, epochs + 1):
        config = sweep(
            "hyperband", train__epochs=epochs, tuner__factor=factor, sweep__max_epochs_total=total
        )
        try:
            check(config)
        except ConfigError:
            continue
        accepted = run(config, tmp_path)
        break
    assert accepted is not None
    assert len(accepted.state.ranking()) == 1


@pytest.mark.parametrize(
    ("tuner", "values"), [("grid", {}), ("hyperband", {"tuner__iterations": 1, "train__epochs": 3})]
)
def test_tuners_that_end_by_themselves_need_no_budget(
    tuner: str, values: dict[str, Any], tmp_path: Path
) -> None:
    config = sweep(tuner, {"train": {"batch_size": {"int": [1, 12]}}}, **values)
    check(config)
    assert run(config, tmp_path).reason == f"tuner {tuner} has nothing more to propose"


# --- failures -----------------------------------------------------------------------------------


def test_a_failed_trial_is_recorded_with_its_error_and_is_no_result(tmp_path: Path) -> None:
    config = sweep(
        "grid", {"train": {"batch_size": {"choice": [8, 16, 32]}}}, sweep__max_failure_rate=0.5
    )
    end = run(config, tmp_path, InstantExecutor(lambda config: config.train.batch_size == 16))
    failed = end.state.trials[1]
    assert (failed.status, failed.reason) == (TrialStatus.FAILED, "TrialFailed: it broke")
    assert (failed.result, failed.score) == (None, None)
    assert [trial.number for trial in end.state.ranking()] in ([0, 2], [2, 0])
    told_failed = [r for r in end.journal.records if isinstance(r, Told) and r.result is None]
    assert [r.reason for r in told_failed] == ["TrialFailed: it broke"]


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.99])
def test_the_first_four_failures_never_stop_a_sweep_and_the_fifth_may(
    rate: float, tmp_path: Path
) -> None:
    config = sweep(sweep__max_trials=20, sweep__max_failure_rate=rate)
    with pytest.raises(SweepStopped) as raised:
        run(config, tmp_path, InstantExecutor(always))
    assert raised.value.exit_code == 1
    said = str(raised.value)
    assert said == (
        f"5 of 5 trials failed, more than sweep.max_failure_rate={rate:g} allows; "
        "trial 4: TrialFailed: it broke"
    )
    four = run(sweep(sweep__max_trials=4, sweep__max_failure_rate=rate), tmp_path / "4",
               InstantExecutor(always))  # fmt: skip
    assert len(four.state.failed_trials) == 4


@pytest.mark.parametrize(("rate", "stops_after"), [(0.0, 5), (0.19, 5), (0.2, 6), (0.45, None)])
def test_a_sweep_stops_past_the_rate_not_at_it(
    rate: float, stops_after: int | None, tmp_path: Path
) -> None:
    # Of a grid of ten, the second, the sixth and the tenth fail.
    space = {"train": {"batch_size": {"int": [1, 10]}}}
    config = sweep("grid", space, sweep__max_failure_rate=rate)
    executor = InstantExecutor(lambda config: config.train.batch_size % 4 == 2)
    if stops_after is None:
        assert len(run(config, tmp_path, executor).state.trials) == 10
        return
    with pytest.raises(SweepStopped, match=rf"of {stops_after} trials failed"):
        run(config, tmp_path, executor)
    assert len(executor.rungs) == stops_after


def test_a_stopped_sweep_stops_again_and_goes_on_once_the_rate_is_raised(tmp_path: Path) -> None:
    low = sweep(sweep__max_trials=8, sweep__max_failure_rate=0.5)
    for _ in range(2):
        executor = InstantExecutor(always)
        with pytest.raises(SweepStopped):
            run(low, tmp_path, executor)
    assert executor.rungs == []
    raised = sweep(sweep__max_trials=8, sweep__max_failure_rate=1.0)
    end = run(raised, tmp_path, InstantExecutor(never))
    assert (len(end.state.trials), len(end.state.failed_trials)) == (8, 5)


def test_a_failed_trial_s_promotion_is_answered_without_running(tmp_path: Path) -> None:
    config = sweep("hyperband", train__epochs=9, sweep__max_trials=9, sweep__max_failure_rate=1.0)
    end = run(config, tmp_path, InstantExecutor(always))
    assert len(end.executor.rungs) == 9
    assert Counter(asked.rung for asked in end.state.asks) == {0: 9, 1: 3, 2: 1}
    answers = [r for r in end.journal.records if isinstance(r, Told)][9:]
    assert [(r.result, r.reason, r.seconds) for r in answers] == [
        (None, "TrialFailed: it broke", 0.0)
    ] * 4
    assert end.state.epochs_total == 9
    assert len(end.state.failed_trials) == 9


def test_a_failed_trial_s_promotion_costs_no_budget(tmp_path: Path) -> None:
    # Nine rungs of one epoch each; the first promotion would need two more.
    config = sweep("hyperband", train__epochs=9, sweep__max_epochs_total=10,
                   sweep__max_failure_rate=1.0)  # fmt: skip
    end = run(config, tmp_path, InstantExecutor(always))
    assert sum(asked.rung > 0 for asked in end.state.asks) == 4


def test_a_trial_that_fails_when_promoted_counts_no_more(tmp_path: Path) -> None:
    class FailsLate(InstantExecutor):
        def submit(self, rung: Rung, on_epoch: OnEpoch) -> Any:
            self.fails = always if rung.last_epoch > 1 else never
            return super().submit(rung, on_epoch)

    config = sweep("hyperband", train__epochs=3, sweep__max_trials=3, sweep__max_failure_rate=1.0)
    end = run(config, tmp_path, FailsLate())
    promoted = next(asked.trial for asked in end.state.asks if asked.rung == 1)
    assert end.state.trials[promoted].status is TrialStatus.FAILED
    assert promoted not in {trial.number for trial in end.state.ranking()}


# --- the executor -------------------------------------------------------------------------------


def inline(broken: Exception | None = None) -> InlineExecutor:
    def train(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        epochs, result = train_at_once(rung.config, rung.last_epoch)
        for record in epochs:
            on_epoch(record)
            if broken is not None:
                raise broken
        return result

    return InlineExecutor(train)


def a_rung(folder: Path) -> Rung:
    return Rung(sweep().run, 0, 2, folder)


def test_inline_runs_a_rung_before_it_returns(tmp_path: Path) -> None:
    epochs: list[EpochRecord] = []
    future = inline().submit(a_rung(tmp_path), epochs.append)
    assert future.done()
    outcome = future.result()
    assert outcome.result == train_at_once(sweep().run, 2)[1]
    assert outcome.reason is None
    assert outcome.seconds >= 0
    assert [record.epoch for record in epochs] == [1, 2]


def test_a_training_s_error_is_its_outcome_in_one_line(tmp_path: Path) -> None:
    broken = ValueError("shapes differ\nfor these reasons:\n...")
    outcome = inline(broken).submit(a_rung(tmp_path), lambda record: None).result()
    assert outcome.result is None
    assert outcome.reason == "ValueError: shapes differ"


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_what_goes_wrong_outside_the_training_is_not_the_trial_s(
    error: BaseException, tmp_path: Path
) -> None:
    def on_epoch(record: EpochRecord) -> None:
        raise error

    with pytest.raises(type(error)):
        inline().submit(a_rung(tmp_path), on_epoch)


def test_a_full_disk_is_not_the_trial_s(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No space left on device"):
        inline(OSError("No space left on device")).submit(a_rung(tmp_path), lambda record: None)


def test_a_tracker_that_breaks_does_not_fail_a_trial(tmp_path: Path) -> None:
    def observer(record: Any, state: Any) -> None:
        if isinstance(record, EpochEnded) and record.trial == 1:
            raise ConnectionError("the tracking server is away")

    config = sweep(sweep__max_trials=3)
    with pytest.raises(ConnectionError):
        run(config, tmp_path, inline(), observer=observer)  # type: ignore[arg-type]
    end = run(config, tmp_path, inline())  # type: ignore[arg-type]
    assert not end.state.failed_trials
    whole = run(config, tmp_path / "whole", inline())  # type: ignore[arg-type]
    kept = [r for r in told(whole.journal.records) if r["kind"] != "told"]
    assert [r for r in told(end.journal.records) if r["kind"] != "told"] == kept


def test_up_to_as_many_rungs_as_there_are_workers_are_open_at_once(tmp_path: Path) -> None:
    most = 0

    def observer(record: Any, state: Any) -> None:
        nonlocal most
        most = max(most, len(state.open_asks))

    end = run(sweep(sweep__max_trials=7), tmp_path, InstantExecutor(workers=3), observer=observer)
    assert most == 3
    assert len(end.state.ranking()) == 7
    answered = [r.ask for r in end.journal.records if isinstance(r, Told)]
    assert answered == sorted(answered)
    one = run(sweep(sweep__max_trials=7), tmp_path / "one")
    points = [[a.overrides for a in e.state.asks] for e in (end, one)]
    assert points[0] == points[1]
    assert sum(isinstance(r, Asked) for r in end.journal.records) == 7


def test_an_environment_is_told_once_for_as_long_as_it_stays(tmp_path: Path) -> None:
    config = sweep(sweep__max_trials=2, train__epochs=2)
    run(config, tmp_path)
    again = config.model_copy(update={"sweep": config.sweep.model_copy(update={"max_trials": 3})})
    same = ENVIRONMENT.model_copy(update={"command": "another"})
    assert run(again, tmp_path, environment=same).state.environments == [ENVIRONMENT]
    elsewhere = ENVIRONMENT.model_copy(update={"git_commit": "e" * 40})
    more = config.model_copy(update={"sweep": config.sweep.model_copy(update={"max_trials": 4})})
    end = run(more, tmp_path, environment=elsewhere)
    assert end.state.environments == [ENVIRONMENT, elsewhere]
    made_in = [end.state.environments_of(trial) for trial in end.state.trials.values()]
    assert made_in == [[ENVIRONMENT]] * 3 + [[elsewhere]]


class OnHosts(InstantExecutor):
    """Trains elsewhere: each rung's epochs on the next of these hosts."""

    hosts = ("a", "b", "a")
    cpus = MappingProxyType({"a": ENVIRONMENT.numerics.cpu, "b": "another"})

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        host = self.hosts[len(self.rungs) % len(self.hosts)]
        numerics = ENVIRONMENT.numerics.model_copy(update={"cpu": self.cpus[host]})
        own = {"numerics": numerics, "command": "", "git_commit": None}
        place = Place(ENVIRONMENT.model_copy(update=own), host)
        return super().submit(
            rung, lambda record: on_epoch(TrainedElsewhere(**vars(record), place=place))
        )


def test_the_journal_has_where_workers_trained_each_epoch(tmp_path: Path) -> None:
    end = run(sweep(sweep__max_trials=3), tmp_path, OnHosts())
    another = end.state.environments[1]
    assert end.state.environments == [ENVIRONMENT, another]
    assert another.command == ENVIRONMENT.command, "the owner's"
    assert another.numerics.cpu == "another"
    made_in = [end.state.environments_of(trial) for trial in end.state.trials.values()]
    assert made_in == [[ENVIRONMENT], [another], [ENVIRONMENT]]
    told = [record.host for record in end.journal.records if isinstance(record, RunsIn)]
    assert told == [None, "a", "b"], "each once"
    # It goes on in the owner's own process, whose environment has not changed meanwhile.
    more = run(sweep(sweep__max_trials=4), tmp_path)
    assert more.state.environments_of(more.state.trials[3]) == [ENVIRONMENT]
    assert sum(isinstance(record, RunsIn) for record in more.journal.records) == 3


def test_a_finished_sweep_that_is_only_looked_at_tells_no_environment(tmp_path: Path) -> None:
    config = sweep(sweep__max_trials=2, train__epochs=2)
    before = run(config, tmp_path).journal.records
    elsewhere = ENVIRONMENT.model_copy(update={"platform": "elsewhere"})
    assert run(config, tmp_path, environment=elsewhere).journal.records == before


class Checkpointing(InstantExecutor):
    """Leaves a checkpoint where a real training would, and wants it where one goes on."""

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Any:
        file = rung.folder / CheckpointFolder.FILES[0]
        assert file.exists() == (rung.first_epoch > 0)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a checkpoint")
        return super().submit(rung, on_epoch)


@pytest.mark.parametrize("tuner", ["random", "grid", "hyperband"])
def test_checkpoints_that_nothing_goes_on_with_are_dropped(tuner: str, tmp_path: Path) -> None:
    config = sweep(tuner=tuner, sweep__max_trials=40, train__epochs=9)
    most: list[int] = []

    def observer(record: Any, state: Any) -> None:
        if isinstance(record, Asked):
            most.append(len(list(tmp_path.rglob("checkpoint.npz"))))

    end = run(config, tmp_path, Checkpointing(), observer=observer)
    if tuner == "hyperband":
        assert any(asked.rung > 0 for asked in end.state.asks)
        assert len(end.state.trials) > 2 * 9, "several brackets"
        assert max(most) <= 9, "those of one bracket"
    else:
        assert max(most) == 0
