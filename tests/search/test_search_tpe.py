"""What TPE's model is made from."""

from __future__ import annotations

from typing import Any

from driven_search import Driven
from search_fakes import config_with

from fmnist_sweep.journal.records import Asked, EpochEnded, Told, TrialStatus
from fmnist_sweep.tuners.search import Suggestion

LINE: dict[str, Any] = {"train": {"label_smoothing": {"float": [0.0, 0.5]}}}
SMOOTHING = "train.label_smoothing"


def driven(space: dict[str, Any], **values: Any) -> Driven:
    return Driven(config_with(space, tuner="tpe", **values))


def know(
    search: Driven, number: int, point: dict[str, Any], score: float | None, epochs: int = 9
) -> None:
    """Record a trial as if the tuner had proposed it."""
    begin(search, number, point, epochs)
    end(search, number, score)


def begin(search: Driven, number: int, point: dict[str, Any], epochs: int) -> None:
    overrides: dict[str, Any] = {}
    search.record(
        Asked(number, number, 0, 0, epochs, f"ask-{number}", point, overrides=overrides, at=0.0)
    )


def end(search: Driven, number: int, score: float | None) -> None:
    status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    reason = "it broke" if score is None else None
    search.record(Told(number, number, status, score, None, reason, 1.0, at=0.0))


def proposed(search: Driven, numbers: range) -> list[dict[str, Any]]:
    """What each of those asks would propose, none of them recorded."""
    answers = [search.scheduler.ask(number, new_trials=True) for number in numbers]
    assert all(isinstance(answer, Suggestion) for answer in answers)
    return [answer.point for answer in answers if isinstance(answer, Suggestion) and answer.point]


def test_where_trainings_fail_less_is_proposed() -> None:
    def near_the_best(search: Driven) -> int:
        for number in range(21):
            value = number / 40
            know(search, number, {SMOOTHING: value}, 0.9 - (value - 0.26) ** 2)
        return sum(0.2 < point[SMOOTHING] < 0.32 for point in proposed(search, range(100, 140)))

    without, with_failures = driven(LINE), driven(LINE)
    for number in range(200, 260):
        know(with_failures, number, {SMOOTHING: 0.2 + 0.002 * (number - 199)}, None)
    assert near_the_best(with_failures) < near_the_best(without)


def test_trials_with_epochs_of_their_own_share_a_model() -> None:
    space: dict[str, Any] = {"train": {**LINE["train"], "epochs": {"int": [5, 40]}}}
    learned, random = driven(space), driven(space, tuner__initial_points=1000)
    for search in (learned, random):
        for number in range(30):
            point = {SMOOTHING: number / 60, "train.epochs": 5 + number}
            know(search, number, point, 0.9 - (number / 60 - 0.26) ** 2, epochs=5 + number)
    assert proposed(learned, range(100, 110)) != proposed(random, range(100, 110))


def test_trials_that_went_past_a_rung_count_at_it() -> None:
    def trials(search: Driven, epochs: int) -> None:
        for number in range(30):
            point, score = {SMOOTHING: number / 60}, 0.9 - (number / 60 - 0.26) ** 2
            # Six begin with one epoch, so that there is such a rung, and the others with three.
            last = 1 if number < 6 else epochs
            begin(search, number, point, last)
            for epoch in range(1, last + 1):
                metrics = {"val_accuracy": score + epoch / 1000}
                search.record(EpochEnded(number, epoch, metrics, at=0.0))
            end(search, number, score + last / 1000)

    # The longer rung has too few trials for a model in both.
    settings: dict[str, Any] = {"tuner__initial_points": 26, "train__epochs": 9}
    learned = driven(LINE, **settings)
    random = driven(LINE, **{**settings, "tuner__initial_points": 99})
    for search in (learned, random):
        trials(search, 3)
    assert proposed(learned, range(100, 110)) != proposed(random, range(100, 110))


def test_a_proposal_that_is_not_recorded_leaves_nothing_behind() -> None:
    asked, fresh = driven(LINE), driven(LINE)
    for search in (asked, fresh):
        for number in range(12):
            know(search, number, {SMOOTHING: number / 30}, number / 12)
    proposed(asked, range(100, 120))
    assert proposed(asked, range(12, 20)) == proposed(fresh, range(12, 20))
