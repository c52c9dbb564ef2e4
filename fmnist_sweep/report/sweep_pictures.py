"""The pictures of a report and their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from fmnist_sweep.analysis.fronts import front_history
from fmnist_sweep.analysis.history import brackets, by_time, by_trial
from fmnist_sweep.analysis.importance import Importances, importances
from fmnist_sweep.journal.identity import space_of
from fmnist_sweep.pictures.best_so_far import best_by_time, best_by_trial
from fmnist_sweep.pictures.calibration import calibration
from fmnist_sweep.pictures.data import augmented_samples, class_distribution, samples
from fmnist_sweep.pictures.parallel_coordinates import parallel_coordinates
from fmnist_sweep.pictures.pareto_front import front_and_hypervolume
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
"""A picture's name, title and caption, and the function that draws it."""
_PIXELS_AN_INCH = 96  # CSS pixels
_WIDEST_OF_A_PAIR = 800


def pictures_of(source: ReportSource) -> tuple[list[Picture], list[str]]:
    """Draw all pictures of a sweep for which there is data.

    Returns:
        The pictures, and notes on missing ones when the reason is not obvious.
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
        name, title = "importances", "Importance of the searched values"
        caption = (
            f"Share of the differences in {found.metric} after epoch {found.epoch} that each "
            f"searched value explains by itself (fANOVA, Hutter et al. 2014, on the ranks of "
            f"{found.trials} trials), in this space and these trials only."
        )
        drawn = _drawn("search", (name, title, caption, lambda: picture_of_importances(found)))
        if drawn is not None:
            # Before the wide picture that ends the section.
            pictures.insert(sum(picture.section == "search" for picture in pictures) - 1, drawn)
    else:
        notes.append(f"Importances are not available: {found.reason}.")
    return pictures, notes


def comparison_pictures(sources: Sequence[ReportSource]) -> list[Picture]:
    """Draw the best score so far of several sweeps with the same objective."""
    objective = sources[0].state.objective
    over_trials = {s.name: by_trial(s.journal.records, objective) for s in sources}
    over_time = {s.name: by_time(s.journal.records, objective) for s in sources}
    drawings: list[_Drawing] = [
        (
            "best_by_trial",
            "Best so far by trial",
            f"The best {objective.metric} so far, by trial in the order of the results.",
            lambda: best_by_trial(over_trials),
        ),
        (
            "best_by_time",
            "Best so far by time",
            f"The best {objective.metric} so far, by wall time without pauses.",
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
        "Best so far by trial",
        f"Each trial's {metric} in the order of the results, and the best so far.",
        lambda: best_by_trial({source.name: by_trial(records, state.objective)}),
    )
    yield (
        "best_by_time",
        "Best so far by time",
        f"{metric} of every rung by wall time, without pauses between a stop and a resume.",
        lambda: best_by_time({source.name: by_time(records, state.objective)}),
    )
    if state.further_objectives:
        yield _of_the_front(source)
    yield (
        "accuracy_against_parameters",
        "Accuracy against parameters",
        "The line is the Pareto front: no other trial is better with as few parameters.",
        lambda: accuracy_against_parameters(state),
    )
    yield (
        "accuracy_against_time",
        "Accuracy against training time",
        "The line is the Pareto front: no other trial is better in as little time. Trials stopped "
        "early took less time.",
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
        "Searched values of all trials",
        "One line per trial, darker is better, the best in red; a dash below an axis: the value "
        "does not exist for that trial.",
        lambda: parallel_coordinates(state, space_of(source.begun.identity)),
    )


def _of_the_front(source: ReportSource) -> _Drawing:
    names = [objective.metric for objective in source.state.objectives]
    return (
        "pareto_front",
        "Pareto front",
        f"The trials by {' and '.join(names)}; no other is as good as one of the front in each and "
        "better in one. Hypervolume: how much of the box between the worst and the best scores of "
        "all trials the front dominates.",
        lambda: front_and_hypervolume(front_history(source.journal.records, source.state)),
    )


def _of_the_winner(source: ReportSource) -> Iterator[_Drawing]:
    best, material = source.state.best, source.material
    if best is None or best.result is None:
        return
    history, best_epoch = best.history, best.result.best_epoch
    folds = len(best.result.folds)
    means = f" Each is a mean over {folds} folds." if folds else ""
    yield (
        "learning_curves",
        "Learning curves",
        "Loss and accuracy by epoch. Training values are means over an epoch, with dropout and "
        f"changing weights; validation is evaluated at its end, without dropout.{means}",
        lambda: learning_curves(history, best_epoch),
    )
    winner = source.winner
    if winner is None or material is None:
        return
    augmented = winner.augmented
    if augmented is not None:
        yield (
            "augmented_samples",
            "Augmented training images",
            "What the winner's augmentation makes of some training images: above as they are, "
            "below as in its first epochs.",
            lambda: augmented_samples(augmented),
        )
    names = material.data.class_names
    yield (
        "accuracy_by_class",
        "Accuracy by class",
        "On the test set shared by all trials, with 95 % intervals.",
        lambda: accuracy_by_class(winner, names),
    )
    yield (
        "confusion_matrix",
        "Confusion matrix",
        "Rows are labels, columns are predictions, on the test set.",
        lambda: confusion_matrix(winner, names),
    )
    yield (
        "calibration",
        "Calibration",
        "Accuracy by confidence of the prediction (Guo et al. 2017, arXiv 1706.04599); on the "
        "diagonal, probabilities are accurate.",
        lambda: calibration(winner),
    )
    yield (
        "confidently_wrong",
        "Most confident wrong predictions",
        "Images of the test set: their label, and the winner's prediction.",
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
        "Classes by set",
        "Images per class in each set of the split.",
        lambda: class_distribution(data),
    )
