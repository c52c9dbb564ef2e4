"""Keras Tuner, and the only place that touches it: its oracles behind ask and tell."""

from fmnist_sweep.tuners.asking import (
    Answer,
    Exhausted,
    SearchOracle,
    Suggestion,
    Waiting,
)
from fmnist_sweep.tuners.encoding import sample_points

__all__ = ["Answer", "Exhausted", "SearchOracle", "Suggestion", "Waiting", "sample_points"]
