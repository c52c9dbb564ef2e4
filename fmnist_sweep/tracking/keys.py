"""The keys that identify runs."""

from __future__ import annotations


def sweep_key(name: str, begun_at: float) -> str:
    """Return the key of the run of a sweep or a single training. The time distinguishes it from an
    earlier one of the same name whose folder was deleted."""
    return f"{name}@{begun_at}"


def trial_key(of_the_sweep: str, number: int) -> str:
    """Return the key of a trial's run."""
    return f"{of_the_sweep}/{number}"


def fold_key(of_the_trial: str, fold: int) -> str:
    """Return the key of the run of one of a trial's folds."""
    return f"{of_the_trial}/fold{fold}"


def refit_key(of_the_trial: str, epochs: int) -> str:
    """Return the key of the run that trains a trial on all images that are not test."""
    return f"{of_the_trial}/all{epochs}"


def confirmation_key(of_the_trial: str, seed: int) -> str:
    """Return the key of the run that trains a trial with another seed."""
    return f"{of_the_trial}/seed{seed}"
