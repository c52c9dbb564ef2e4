"""A sweep whose journal lost its end, at whatever byte, goes on from what is left of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from each_record import EACH, OBJECTIVE
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import (
    InstantExecutor,
    Run,
    config_with,
    journal_of,
    run,
    to_lines,
    told,
    train_at_once,
)
from test_search_resume import LINE, SPACE, TUNERS

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import JournalError
from fmnist_sweep.executors.protocol import OnEpoch, Rung, RungOutcome
from fmnist_sweep.files import digest_of
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal, to_line
from fmnist_sweep.journal.records import SCHEMA, Asked, Begun, Ended, FoundInfeasible, Record
from fmnist_sweep.journal.state import SweepState


@dataclass(frozen=True)
class Story:
    """A sweep that is run with one budget after another, each larger than the one before."""

    tuner: str
    budgets: tuple[int, ...]
    start_with: tuple[dict[str, Any], ...] = ()
    seed: int = 1
    max_mflops: float | None = 3.5
    one_breaks_in: int = 4
    workers: int = 1

    def config(self, budget: int) -> Config:
        """The sweep with that budget."""
        values: dict[str, Any] = {}
        if self.tuner == "bayesian":
            values["tuner__initial_points"] = 3
        return config_with(
            LINE if self.tuner == "bayesian" else SPACE,
            tuner=self.tuner,
            tuner__seed=self.seed,
            sweep__max_trials=budget,
            sweep__start_with=list(self.start_with),
            sweep__max_mflops=self.max_mflops,
            sweep__max_failure_rate=1.0,
            train__epochs=4 if self.tuner == "hyperband" else 2,
            **values,
        )


@st.composite
def stories(draw: st.DrawFn, tuner: str, workers: st.SearchStrategy[int]) -> Story:
    longest = 6 if tuner == "bayesian" else 12
    budgets = draw(st.sets(st.integers(1, longest), min_size=1, max_size=3))
    points: list[dict[str, Any]] = [{}, {"train.batch_size": 16}, {"train.label_smoothing": 0.1}]
    return Story(
        tuner,
        tuple(sorted(budgets)),
        tuple(draw(st.lists(st.sampled_from(points), max_size=2))),
        draw(st.integers(0, 99)),
        draw(st.sampled_from([None, 3.5])),
        draw(st.integers(1, 9)),
        draw(workers),
    )


@dataclass
class DrawnExecutor(InstantExecutor):
    """Trains while the sweep waits, an epoch of one of the open rungs at a time. One rung in so
    many breaks, promoted ones among them, before its first new epoch or after it."""

    one_breaks_in: int = 4
    order: random.Random = field(default_factory=random.Random)
    running: list[Iterator[None]] = field(default_factory=list)

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        self.rungs.append(rung)
        future: Future[RungOutcome] = Future()
        self.running.append(self._training(rung, on_epoch, future))
        return future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        while not any(future.done() for future in futures):
            training = self.order.choice(self.running)
            if next(training, self) is self:
                self.running.remove(training)
        return {future for future in futures if future.done()}

    def _training(
        self, rung: Rung, on_epoch: OnEpoch, future: Future[RungOutcome]
    ) -> Iterator[None]:
        epochs, result = train_at_once(rung.config, rung.last_epoch)
        luck = int(digest_of([rung.config.as_given(), rung.first_epoch])[:8], 16)
        breaks = luck % self.one_breaks_in == 0
        for record in epochs[: rung.first_epoch + luck % 2] if breaks else epochs:
            on_epoch(record)
            yield
        outcome = RungOutcome(None, "TrialFailed: it broke", self.seconds)
        future.set_result(outcome if breaks else RungOutcome(result, None, self.seconds))


def gone_on(story: Story, folder: Path, order: int = 0) -> Run:
    """Begin the story, or go on where the folder's journal says that it stands."""
    journal = Journal(folder / JOURNAL_FILE)
    if not journal.records:
        journal.append(Begun(SCHEMA, "mine", {"seed": story.seed}, "python", 1.0))
    ends = sum(isinstance(record, Ended) for record in journal.records)
    executor = DrawnExecutor(
        workers=story.workers, one_breaks_in=story.one_breaks_in, order=random.Random(order)
    )
    for budget in story.budgets[min(ends, len(story.budgets) - 1) :]:
        end = run(story.config(budget), folder, executor)
        if end.state.ended is None:
            end.journal.append(Ended(end.reason, 2.0))
            end.state.apply(end.journal.records[-1])
    return end


def state_of(records: Iterable[Record]) -> SweepState:
    state = SweepState(OBJECTIVE)
    for record in records:
        state.apply(record)
    return state


def read(path: Path) -> tuple[list[Record], SweepState]:
    journal = Journal(path)
    return journal.records, SweepState.after(journal, OBJECTIVE)


def check_cut(path: Path, size: int, records: list[Record]) -> list[Record]:
    """Cut a journal after so many bytes: what is read is its whole lines, and their state."""
    content = path.read_bytes()
    path.write_bytes(content[:size])
    kept = records[: content[:size].count(b"\n")]
    assert read(path) == (kept, state_of(kept))
    return kept


def cut_anywhere(data: st.DataObject, path: Path, records: list[Record]) -> list[Record]:
    # A share, since the digits of the times decide how many bytes there are.
    share = data.draw(st.integers(0, 10**6), label="millionths kept")
    return check_cut(path, path.stat().st_size * share // 10**6, records)


def check_is_a_whole_sweep(end: Run, path: Path) -> None:
    """Everything that was asked was asked once and answered, and is read again as it is."""
    assert read(path) == (end.journal.records, end.state)
    assert not end.state.open_asks
    rungs = [(asked.trial, asked.rung) for asked in end.state.asks]
    assert len(set(rungs)) == len(rungs)
    points = [str(ask.overrides) for ask in end.state.asks if ask.rung == 0 and ask.oracle_id]
    assert len(set(points)) == len(points)
    refused = [str(r.values) for r in end.journal.records if isinstance(r, FoundInfeasible)]
    assert len(set(refused)) == len(refused)


@examples(12)
@given(data=st.data())
@pytest.mark.parametrize("tuner", TUNERS)
def test_cut_again_and_again_at_any_byte_it_ends_with_the_same_journal(
    tuner: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    story = data.draw(stories(tuner, st.just(1)))
    folder = tmp_path_factory.mktemp("cut")
    whole = gone_on(story, folder)
    check_is_a_whole_sweep(whole, folder / JOURNAL_FILE)
    records = whole.journal.records
    for _ in range(data.draw(st.integers(1, 4), label="cuts")):
        records = cut_anywhere(data, folder / JOURNAL_FILE, records)
        if data.draw(st.booleans(), label="goes on before the next cut"):
            records = gone_on(story, folder).journal.records
            assert told(records) == told(whole.journal.records)
    end = gone_on(story, folder)
    assert told(end.journal.records) == told(whole.journal.records)
    assert end.reason == whole.reason
    check_is_a_whole_sweep(end, folder / JOURNAL_FILE)


@examples(12)
@given(data=st.data())
@pytest.mark.parametrize("tuner", TUNERS)
def test_cut_with_rungs_open_at_once_it_keeps_what_it_has_and_ends(
    tuner: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    story = data.draw(stories(tuner, st.integers(2, 3)))
    folder = tmp_path_factory.mktemp("cut")
    whole = gone_on(story, folder, data.draw(st.integers(0, 99), label="order"))
    check_is_a_whole_sweep(whole, folder / JOURNAL_FILE)
    records = whole.journal.records
    for _ in range(data.draw(st.integers(1, 4), label="cuts")):
        kept = cut_anywhere(data, folder / JOURNAL_FILE, records)
        # Another number of workers may go on: what was left open is run first, all of it.
        story = replace(story, workers=data.draw(st.integers(1, 3), label="workers"))
        end = gone_on(story, folder, data.draw(st.integers(0, 99), label="order"))
        records = end.journal.records
        assert records[: len(kept)] == kept
        assert len(end.state.trials) == len(whole.state.trials)
        check_is_a_whole_sweep(end, folder / JOURNAL_FILE)


def test_cut_at_every_byte_the_state_is_that_of_the_whole_lines(tmp_path: Path) -> None:
    path = journal_of(EACH, tmp_path)
    for size in range(path.stat().st_size, -1, -1):
        check_cut(path, size, EACH)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Story, list[Record]]]:
    """Each tuner's sweep with failures, infeasible points and a raised budget."""
    ran: dict[str, tuple[Story, list[Record]]] = {}

    def of(tuner: str) -> tuple[Story, list[Record]]:
        if tuner not in ran:
            budgets = (3, 5) if tuner == "bayesian" else (5, 10)
            story = Story(tuner, budgets, start_with=({},), one_breaks_in=3)
            ran[tuner] = story, gone_on(story, tmp_path_factory.mktemp(tuner)).journal.records
        return ran[tuner]

    return of


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_damaged_sweeps_have_what_damage_can_hit(
    tuner: str, ended: Callable[[str], tuple[Story, list[Record]]]
) -> None:
    story, records = ended(tuner)
    state = state_of(records)
    assert state.infeasible > 0
    assert state.failed_trials
    assert state.ends == len(story.budgets)
    promoted = {r.trial for r in records if isinstance(r, Asked) and r.rung > 0}
    assert bool(promoted) == (tuner == "hyperband")


@examples(80)
@given(data=st.data())
@pytest.mark.parametrize("tuner", TUNERS)
def test_with_bytes_lost_inside_it_is_refused_by_file_and_line_or_is_a_prefix(
    tuner: str,
    data: st.DataObject,
    ended: Callable[[str], tuple[Story, list[Record]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    story, records = ended(tuner)
    folder = tmp_path_factory.mktemp("holed")
    path = journal_of(records, folder)
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 2), label="first byte lost")
    most = data.draw(st.sampled_from([1, 2, 300, 4096]))
    stop = data.draw(st.integers(start + 1, min(start + most, len(whole) - 1)), label="first kept")
    path.write_bytes(whole[:start] + whole[stop:])
    check_refused_or_a_prefix(story, folder, records, whole[:start].count(b"\n"))


@examples(30)
@given(data=st.data())
@pytest.mark.parametrize("tuner", TUNERS)
def test_with_garbage_at_its_end_it_is_refused_by_file_and_line_or_is_what_it_was(
    tuner: str,
    data: st.DataObject,
    ended: Callable[[str], tuple[Story, list[Record]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    story, records = ended(tuner)
    folder = tmp_path_factory.mktemp("garbage")
    path = journal_of(records, folder)
    zeros = st.integers(1, 5000).map(bytes)  # what a file system may leave after a power cut
    garbage = data.draw(st.binary(min_size=1, max_size=20) | zeros, label="garbage")
    ending = data.draw(st.sampled_from([b"", b"\n", b"\n" + to_line(records[-1])[0]]))
    with path.open("ab") as file:
        file.write(garbage + ending)
    if b"\n" in garbage + ending:
        with pytest.raises(JournalError, match=rf"^{path}, line {len(records) + 1} "):
            Journal(path)
    else:
        assert read(path) == (records, state_of(records))
        assert told(gone_on(story, folder).journal.records) == told(records)
        assert path.read_bytes().endswith(to_lines(records)[-20:] + garbage), "nothing was added"


def check_refused_or_a_prefix(story: Story, folder: Path, whole: list[Record], kept: int) -> None:
    """A damaged journal is refused, naming file and a line not before the damage, or it is what it
    was after fewer records, and the sweep ends as it would have."""
    path = folder / JOURNAL_FILE
    try:
        records, _ = read(path)
    except JournalError as error:
        said = str(error).removeprefix(f"{path}, line ")
        assert int(said.partition(" ")[0].rstrip(":")) > kept
        assert "\n" not in said
    else:
        assert kept <= len(records)
        assert records == whole[: len(records)]
        assert told(gone_on(story, folder).journal.records) == told(whole)
