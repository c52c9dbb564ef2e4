"""Which pictures a report has, and what is said under each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from fmnist_sweep.analysis.history import brackets, by_time, by_trial
from fmnist_sweep.analysis.importance import Importances, importances
from fmnist_sweep.journal.identity import space_of
from fmnist_sweep.pictures.best_so_far import best_by_time, best_by_trial
from fmnist_sweep.pictures.calibration import calibration
from fmnist_sweep.pictures.data import class_distribution, samples
from fmnist_sweep.pictures.parallel_coordinates import parallel_coordinates
from fmnist_sweep.pictures.rungs import rung_survival
from fmnist_sweep.pictures.style import NothingToShow, own_settings, to_png
from fmnist_sweep.pictures.trade_offs import accuracy_against_parameters, accuracy_against_time
from fmnist_sweep.pictures.what_mattered import importances as picture_of_importances
from fmnist_sweep.pictures.winner import (
    accuracy_by_class,
    confidently_wrong,
    confusion_matrix,
    learning_curves,
)
from fmnist_sweep.report.page import Picture
from fmnist_sweep.report.source import ReportSource

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Drawing = tuple[str, str, str, Callable[[], "Figure"]]
"""A picture's name, title and caption, and what draws it."""
_PIXELS_AN_INCH = 96  # of CSS
_WIDEST_OF_A_PAIR = 800


def pictures_of(source: ReportSource) -> tuple[list[Picture], list[str]]:
    """Draw what there is to draw of a sweep.

    Returns:
        The pictures, and in words what was left out, and why, where that is to be wondered at.
    """
    pictures = [
        picture
        for section, drawings in (
            ("search", _of_the_search(source)),
            ("winner", _of_the_winner(source)),
            ("data", _of_the_data(source)),
        )
        for drawing in drawings
        if (picture := _drawn(section, drawing)) is not None
    ]
    notes = []
    found = importances(source.state, space_of(source.begun.identity))
    if isinstance(found, Importances):
        name, title = "importances", "What mattered"
        caption = (
            f"Share of the differences in {found.metric} after epoch {found.epoch} that each "
            f"searched value explains by itself (fANOVA, Hutter et al. 2014, on the ranks of "
            f"{found.trials} trials). It tells of this space and these trials only."
        )
        drawn = _drawn("search", (name, title, caption, lambda: picture_of_importances(found)))
        if drawn is not None:
            # Before the wide one that ends the section.
            pictures.insert(sum(picture.section == "search" for picture in pictures) - 1, drawn)
    else:
        notes.append(f"What mattered cannot be said: {found.reason}.")
    return pictures, notes


def comparison_pictures(sources: Sequence[ReportSource]) -> list[Picture]:
    """Draw the best so far of several sweeps of one objective."""
    objective = sources[0].state.objective
    over_trials = {s.name: by_trial(s.journal.records, objective) for s in sources}
    over_time = {s.name: by_time(s.journal.records, objective) for s in sources}
    drawings: list[_Drawing] = [
        (
            "best_by_trial",
            "Best so far over trials",
            f"The best {objective.metric} so far, over the trials in the order of their results.",
            lambda: best_by_trial(over_trials),
        ),
        (
            "best_by_time",
            "Best so far over time",
            f"The best {objective.metric} so far, over wall time without pauses.",
            lambda: best_by_time(over_time),
        ),
    ]
    return [drawn for drawing in drawings if (drawn := _drawn("search", drawing)) is not None]


def _drawn(section: str, drawing: _Drawing) -> Picture | None:
    name, title, caption, draw = drawing
    try:
        with own_settings():
            figure = draw()
            png = to_png(figure)
    except NothingToShow:
        return None
    width = round(figure.get_figwidth() * _PIXELS_AN_INCH)
    return Picture(name, section, title, caption, png, width, is_wide=width > _WIDEST_OF_A_PAIR)


def _of_the_search(source: ReportSource) -> Iterator[_Drawing]:
    state, records, metric = source.state, source.journal.records, source.state.objective.metric
    yield (
        "best_by_trial",
        "Best so far over trials",
        f"Each trial's {metric} in the order of the results, and the best so far.",
        lambda: best_by_trial({source.name: by_trial(records, state.objective)}),
    )
    yield (
        "best_by_time",
        "Best so far over time",
        f"{metric} of every rung over wall time; pauses between a stop and a resume left out.",
        lambda: best_by_time({source.name: by_time(records, state.objective)}),
    )
    yield (
        "accuracy_against_parameters",
        "Accuracy against parameters",
        "On the line, the trials that no other beats with as few parameters.",
        lambda: accuracy_against_parameters(state),
    )
    yield (
        "accuracy_against_time",
        "Accuracy against time of training",
        "On the line, the trials that no other beats in as little time. Trials that were stopped "
        "on the way have less of it.",
        lambda: accuracy_against_time(state),
    )
    yield (
        "rung_survival",
        "Who survived which rung",
        "At the end of each rung the better trials go on.",
        lambda: rung_survival(brackets(records), state.objective),
    )
    yield (
        "parallel_coordinates",
        "All trials, all searched values",
        "One line a trial, the darker the better, the best in red; a dash below an axis: the "
        "value does not exist for that trial.",
        lambda: parallel_coordinates(state, space_of(source.begun.identity)),
    )


def _of_the_winner(source: ReportSource) -> Iterator[_Drawing]:
    best, material = source.state.best, source.material
    if best is None or best.result is None:
        return
    history, best_epoch = best.history, best.result.best_epoch
    yield (
        "learning_curves",
        "Learning curves",
        "Loss and accuracy over its epochs. Training values are means over an epoch in which the "
        "weights still change, with dropout; validation is measured at its end, without.",
        lambda: learning_curves(history, best_epoch),
    )
    winner = source.winner
    if winner is None or material is None:
        return
    names = material.data.class_names
    yield (
        "accuracy_by_class",
        "Accuracy by class",
        "On the test set that every trial is measured on, with 95 % intervals.",
        lambda: accuracy_by_class(winner, names),
    )
    yield (
        "confusion_matrix",
        "What is taken for what",
        "Rows are the labels, columns the answers, on the test set.",
        lambda: confusion_matrix(winner, names),
    )
    yield (
        "calibration",
        "How far its probabilities can be trusted",
        "Of the answers that were so sure, how many were right (Guo et al. 2017, "
        "arXiv 1706.04599); on the line, probabilities mean what they say.",
        lambda: calibration(winner),
    )
    yield (
        "confidently_wrong",
        "The surest wrong answers",
        "Images of the test set: their label, and what the winner takes them for instead.",
        lambda: confidently_wrong(winner, names),
    )


def _of_the_data(source: ReportSource) -> Iterator[_Drawing]:
    if source.material is None:
        return
    data = source.material.data
    yield (
        "samples",
        "Samples of each class",
        "The first training images of each class.",
        lambda: samples(data),
    )
    yield (
        "class_distribution",
        "Classes in each set",
        "How many images of each class are in each set of the split.",
        lambda: class_distribution(data),
    )
