"""The importance of the searched values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_sweep.analysis.importance import Importances
from fmnist_sweep.pictures.style import (
    BLUE,
    INK,
    NORMAL,
    SMALL,
    NothingToShow,
    counted,
    finish,
    new_figure,
    shown,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 20


def importances(found: Importances) -> Figure:
    """Draw the importance of each searched value, at most the 20 largest.

    Raises:
        NothingToShow: there are no searched values.
    """
    if not found.shares:
        raise NothingToShow("importances: there are no searched values")
    largest = list(found.shares.items())[:_MOST]
    left_out = len(found.shares) - len(largest)
    epochs = "epoch 1" if found.epoch == 1 else f"{found.epoch} epochs"
    figure = new_figure(
        8.0,
        1.35 + 0.27 * len(largest),
        "Importance of the searched values",
        f"fANOVA over {counted(found.trials, 'trial')}, ranked by {found.metric} after {epochs}; "
        "the remainder: interactions and noise"
        + (f"; {left_out} smaller omitted" if left_out else ""),
    )
    axes = figure.add_subplot()
    style_axes(axes, x="share of the variance of the ranks", grid="x")
    shares = [share for _, share in largest]
    axes.barh(range(len(largest)), shares, height=0.68, color=BLUE)
    axes.set_yticks(range(len(largest)), [shown(path, 44) for path, _ in largest], fontsize=NORMAL)
    axes.set_ylim(len(largest) - 0.4, -0.6)
    axes.set_xlim(0, max(shares) * 1.12 or 1.0)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    axes.tick_params(axis="y", length=0)
    for place, share in enumerate(shares):
        axes.annotate(
            f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %", (share, place), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=SMALL, color=INK,
        )  # fmt: skip
    return finish(figure)
