"""Prepares a training: the data, its split, the threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from fmnist_sweep import runtime
from fmnist_sweep.config.metrics import COSTS, VALIDATION, metric_of
from fmnist_sweep.config.schema import Config, ExecutorConfig, RunConfig
from fmnist_sweep.data import Dataset, Split, load_dataset, make_split
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.step_plan import StepPlan

AnyRunConfig = TypeVar("AnyRunConfig", bound=RunConfig)


@dataclass(frozen=True)
class Prepared:
    """A dataset and its split; `data` are the sets for training."""

    dataset: Dataset
    split: Split

    @cached_property
    def data(self) -> TrainingData:
        """The split's sets."""
        return TrainingData.of(self.dataset, self.split)


def with_threads(config: AnyRunConfig, executor: ExecutorConfig | None = None) -> AnyRunConfig:
    """Return the config with `train.threads: null` replaced by the number of threads of a worker;
    without an executor, by the number of cores."""
    if config.train.threads is not None:
        return config
    cores = runtime.cores()
    share = cores if executor is None else executor.threads_of(cores)
    train = config.train.model_copy(update={"threads": share})
    return config.model_copy(update={"train": train})


def overrides_with_threads(
    overrides: tuple[str, ...], config: RunConfig, executor: ExecutorConfig | None = None
) -> tuple[str, ...]:
    """Return the overrides with the number of threads, if the config leaves it to the machine, so
    that the command gives the same result on a machine with other cores."""
    if config.train.threads is not None:
        return overrides
    others = (word for word in overrides if word.partition("=")[0] != "train.threads")
    return (*others, f"train.threads={with_threads(config, executor).train.threads}")


def prepare(config: RunConfig, dataset: Dataset | None = None) -> Prepared:
    """Read the data (unless given), split it, and configure TensorFlow's threads.

    Writes nothing.

    Raises:
        DataError: a data file is missing, altered or malformed.
        ConfigError: the split cannot be made, a metric does not exist for that data, early
            stopping has no metric, or the number of threads is not available.
    """
    if dataset is None:
        dataset = load_dataset(config.data)
    split = make_split(config.split, dataset)
    _check_metrics(config, dataset.classes)
    _check_early_stopping(config, split)
    _check_augmentation(config, dataset)
    assert config.train.threads is not None  # set by `with_threads`
    runtime.use_threads(config.train.threads)
    return Prepared(dataset, split)


def epochs_of(config: RunConfig, prepared: Prepared) -> int:
    """Return the number of epochs of a config's full training.

    Raises:
        ConfigError: `train.stop_epoch` is beyond a budget in steps.
    """
    epochs = StepPlan.of(config.train, len(prepared.split.train)).epochs
    stop = config.train.stop_epoch
    if stop is not None and stop > epochs:
        raise ConfigError(f"train.stop_epoch={stop}: train.steps has only {epochs} epochs")
    return epochs if stop is None else stop


def _check_metrics(config: RunConfig, classes: int) -> None:
    named = [("train.monitor.metric", config.train.monitor.metric)]
    if isinstance(config, Config) and config.is_sweep:
        named = [("sweep.objective.metric", config.sweep.objective.metric)]
        further = [objective.metric for objective in config.sweep.further_objectives]
        named += [("sweep.objectives", name) for name in further if name not in COSTS]
        named += [("sweep.metrics", name) for name in config.sweep.metrics]
    for path, name in named:
        least = metric_of(name).least_classes
        if classes < least:
            raise ConfigError(
                f"{path}: {name} needs data with at least {least} classes; this has {classes}"
            )


def _is_sweep(config: RunConfig) -> bool:
    return isinstance(config, Config) and config.is_sweep


def _check_early_stopping(config: RunConfig, split: Split) -> None:
    patience, metric = config.train.early_stopping.patience, config.train.monitor.metric
    validates = split.is_validated if _is_sweep(config) else split.validation is not None
    if patience is not None and metric.startswith(VALIDATION) and not validates:
        validation = "" if split.folds else "split.validation, or "
        raise ConfigError(
            f"train.early_stopping.patience={patience}: split {split.scheme} has no validation set "
            f"for {metric}; set {validation}train.early_stopping.patience=null"
        )


def _check_augmentation(config: RunConfig, dataset: Dataset) -> None:
    augment = config.train.augment
    if augment.mixes and dataset.classes < 2:
        name = "cutmix" if augment.cutmix > 0 else "mixup"
        raise ConfigError(
            f"train.augment.{name}={getattr(augment, name):g}: needs at least 2 classes; "
            f"this data has {dataset.classes}"
        )
    smallest = min(dataset.images.shape[1:3])
    if augment.shift >= smallest:
        raise ConfigError(
            f"train.augment.shift={augment.shift}: moves images out of sight; "
            f"allowed: 0 to {smallest - 1}"
        )
