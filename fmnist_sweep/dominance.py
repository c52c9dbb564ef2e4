"""Several objectives at once: who dominates whom, and how much a front dominates.

Scores are float64 (n, m), a row a point and a column an objective, and higher is better in each. A
point dominates another that it equals or beats in each objective and beats in one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def on_front(scores: Scores) -> NDArray[np.bool_]:
    """Return which points no other dominates, (n,): the Pareto front. Equal points all are."""
    # The best in the first objective first, and of equals in the next: then a point is dominated
    # by one of those before it, or by none (Kung, Luccio and Preparata 1975).
    different, place = np.unique(-scores, axis=0, return_inverse=True)
    on = _in_order_on_front(-different)
    return on[place.reshape(-1)]


def ranks(scores: Scores) -> NDArray[np.int64]:
    """Return each point's front, (n,): 0 for the Pareto front, 1 for that of the others, and so on
    (Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II")."""
    found = np.full(len(scores), -1, dtype=np.int64)
    left, rank = np.arange(len(scores)), 0
    while len(left):
        front = on_front(scores[left])
        found[left[front]] = rank
        left, rank = left[~front], rank + 1
    return found


def crowding_distance(scores: Scores) -> NDArray[np.float64]:
    """Return how far apart the neighbours of each point of a front are, (n,).

    They are summed over the objectives, as shares of the front's ranges; the best and the worst
    point in an objective are infinitely far from the others (same paper).
    """
    distance = np.zeros(len(scores))
    for column in scores.T:
        order = np.argsort(column, kind="stable")
        in_order = column[order]
        distance[order[[0, -1]]] = np.inf
        width = in_order[-1] - in_order[0]
        if width > 0.0:
            distance[order[1:-1]] += (in_order[2:] - in_order[:-2]) / width
    return distance


def hypervolume(scores: Scores, reference: Sequence[float]) -> float:
    """Return the area, or the volume, of what the points dominate above a reference point (Zitzler
    and Thiele 1998). With three objectives it is cut into slices at the points' last ones.

    Raises:
        ValueError: there are not two or three objectives.
    """
    if scores.shape[1] not in (2, 3):
        raise ValueError(f"{scores.shape[1]} objectives; allowed: 2 or 3")
    above = scores - np.asarray(reference, dtype=np.float64)
    above = above[(above > 0.0).all(axis=1)]
    if scores.shape[1] == 2:
        return _area(above)
    volume, depths = 0.0, np.unique(above[:, 2])
    for below, depth in zip([0.0, *depths], depths, strict=False):
        volume += (depth - below) * _area(above[above[:, 2] >= depth][:, :2])
    return float(volume)


def _in_order_on_front(scores: Scores) -> NDArray[np.bool_]:
    """Return the same of different points in that order."""
    on = np.zeros(len(scores), dtype=np.bool_)
    if scores.shape[1] == 1:
        on[:1] = True
    elif scores.shape[1] == 2:
        best_before = np.maximum.accumulate(np.append(-np.inf, scores[:-1, 1]))[: len(scores)]
        on = scores[:, 1] > best_before
    else:
        front = scores[:0]
        for place, point in enumerate(scores):
            if not (front >= point).all(axis=1).any():
                on[place] = True
                front = np.vstack([front, point])
    return on


def _area(above: Scores) -> float:
    """Return the area of the union of rectangles from 0 to each point, float64 (n, 2)."""
    in_order = above[np.argsort(-above[:, 0], kind="stable")]
    # From right to left the union is as high as the highest point so far.
    height = np.maximum.accumulate(in_order[:, 1])
    width = in_order[:, 0] - np.append(in_order[1:, 0], 0.0)
    return float(np.sum(width * height))
