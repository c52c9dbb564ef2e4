from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_material import check_picture, drawn_winner, names_of

from fmnist_sweep.pictures.style import NothingToShow, shown_class
from fmnist_sweep.pictures.winner import (
    accuracy_by_class,
    confidently_wrong,
    confusion_matrix,
    learning_curves,
)
from fmnist_sweep.training.results import EpochRecord


def history(epochs: int, validates: bool = True) -> list[EpochRecord]:
    names = ("loss", "accuracy", *(("val_loss", "val_accuracy") if validates else ()))
    return [
        EpochRecord(epoch, {name: 1.0 / (epoch + place) for place, name in enumerate(names)}, 0.0)
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(("epochs", "best"), [(1, 1), (9, 4), (100, 100)])
def test_curves_mark_the_best_epoch_with_its_value(epochs: int, best: int) -> None:
    texts = check_picture(learning_curves(history(epochs), best))
    assert f"best epoch, {best}: {1.0 / (best + 2):.4f}" in texts
    assert {"train", "validation", "epoch", "loss", "accuracy"} <= set(texts)


def test_without_validation_the_best_epoch_stands_on_the_training_curve() -> None:
    texts = check_picture(learning_curves(history(5, validates=False), 5))
    assert "validation" not in texts
    assert f"best epoch, 5: {1.0 / 5:.4f}" in texts


@pytest.mark.parametrize(
    ("classes", "channels"), [(2, 3), (10, 1), pytest.param(100, 3, marks=pytest.mark.release)]
)
def test_pictures_of_any_number_of_classes(classes: int, channels: int) -> None:
    winner, names = drawn_winner(classes, channels), names_of(classes)
    for picture in (confusion_matrix, accuracy_by_class, confidently_wrong):
        texts = check_picture(picture(winner, names))
        assert any("trial 3" in text for text in texts)
        assert any("n = 300" in text for text in texts)


def test_the_matrix_counts_labels_in_rows() -> None:
    answers = np.array([0, 0, 1, 1, 1, 1])
    labels = np.array([0, 0, 0, 1, 1, 1])
    winner = replace(drawn_winner(2), probabilities=np.eye(2, dtype=np.float32)[answers],
                     labels=labels)  # fmt: skip
    (axes,) = confusion_matrix(winner, ("a", "b")).axes
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "2", (1, 0): "1", (1, 1): "3"}


def test_the_surest_mistakes_say_label_answer_and_probability() -> None:
    winner = drawn_winner(10)
    texts = check_picture(confidently_wrong(winner, names_of(10)))
    row = winner.wrong[0]
    answer = int(winner.probabilities[row].argmax())
    label, other = (
        shown_class(names_of(10), c, n) for c, n in ((winner.labels[row], 19), (answer, 17))
    )
    assert any(text.startswith(f"{label}\n→ {other}\np ") for text in texts)
    assert sum("→" in text for text in texts) == len(winner.wrong) + 1  # and the foot


def test_a_class_without_images_has_no_accuracy() -> None:
    winner = drawn_winner(3)
    here = winner.labels != 2
    winner = replace(winner, labels=winner.labels[here], probabilities=winner.probabilities[here])
    texts = check_picture(accuracy_by_class(winner, ("cat", "dog", "nobody")))
    assert not any("nobody" in text for text in texts)


def test_nothing_to_show() -> None:
    winner = drawn_winner(3)
    empty = replace(
        winner, labels=winner.labels[:0], probabilities=winner.probabilities[:0],
        wrong=winner.wrong[:0], wrong_images=winner.wrong_images[:0],
    )  # fmt: skip
    for picture in (confusion_matrix, accuracy_by_class, confidently_wrong):
        with pytest.raises(NothingToShow):
            picture(empty, names_of(3))
    with pytest.raises(NothingToShow):
        learning_curves([], 1)
