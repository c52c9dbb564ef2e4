"""Trains a config on each fold of a cross-validation, all of them an epoch at a time.

One network, built and traced once, is given the state of one fold after another: that a training
goes on from its checkpoint bit for bit makes this the same as a network for each. So an epoch has
ended once each fold has trained it, and its record has the means; which epoch is the best, and when
a training stops early, is decided by those.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from fmnist_sweep.config.metrics import TEST
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import TrialFailed
from fmnist_sweep.files import digest_of
from fmnist_sweep.interrupts import interrupts_deferred
from fmnist_sweep.training.autologging import autologging_off
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.calculation import usual_calculation
from fmnist_sweep.training.checkpoint import (
    Arrays,
    Checkpoint,
    CheckpointFolder,
    fold_folder,
    weights_digest,
)
from fmnist_sweep.training.costs import measured_costs
from fmnist_sweep.training.evaluation import evaluate
from fmnist_sweep.training.graphs import graphs_freed
from fmnist_sweep.training.mirrored import with_mirror_images
from fmnist_sweep.training.network_check import check_network
from fmnist_sweep.training.progress import OnStep, StepProgress, StepWatch
from fmnist_sweep.training.randomness import seeded_epoch
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.training.step_plan import StepPlan
from fmnist_sweep.training.train import (
    ModelBuilder,
    arrays_of,
    averaged_weights,
    best_epoch,
    check_finite,
    compiled_model,
    restore,
    restore_weights,
    stops_early,
    train_epoch,
)
from fmnist_sweep.turns import in_turn

_log = logging.getLogger(__name__)


@in_turn()
@autologging_off()
@interrupts_deferred()
@graphs_freed()
@usual_calculation()
def run_folds(
    config: RunConfig,
    data: TrainingData,
    last_epoch: int,
    folder: Path,
    *,
    first_epoch: int = 0,
    build_model: ModelBuilder,
    checks_network: bool = False,
    on_epoch: Callable[[EpochRecord], bool],
    on_step: OnStep | None = None,
    costs: Sequence[str] = (),
) -> RunResult:
    """Train each fold to the end of `last_epoch`, continuing from the checkpoints in `folder`.

    As `run_rung`, but with a checkpoint folder for each fold, and without `best.keras`: no fold's
    network is the trial's. A fold's checkpoint is written before the next fold trains; after a kill
    no epoch of a fold that has one is trained again. `checks_network`: of a user's builder.

    Raises:
        ConfigError, RunError, KeyboardInterrupt: as `run_rung`.
        TrialFailed: the loss of a fold is not finite.
    """
    training = _Training(config, data, folder, build_model, on_step)
    training.load(last_epoch)
    if training.epoch == 0 and first_epoch > 0:
        _log.warning("%s: the checkpoint is missing; training from the start", folder.name)
    if training.epoch == 0 and checks_network:
        check_network(config, data.of_folds[0], build_model, folder)
    for record in training.history:
        if on_epoch(record):
            last_epoch = record.epoch
    training.load(last_epoch)
    stopped = False
    while training.epoch < last_epoch:
        stopped = bool(training.history) and stops_early(
            training.history, config.train.early_stopping, config.train.monitor
        )
        if stopped:
            break
        before = training.epoch
        training.advance(last_epoch)
        if training.epoch > before and on_epoch(training.history[-1]):
            break
    return training.result(stopped_early=stopped, costs=costs)


@dataclass(eq=False)
class _Fold:
    """One fold, and its latest state. The state's best weights are the best of the epochs before
    its last one."""

    number: int
    data: TrainingData
    checkpoints: CheckpointFolder
    plan: StepPlan
    state: Checkpoint | None = None

    @property
    def epoch(self) -> int:
        return 0 if self.state is None else self.state.epoch


class _Training:
    """The trainings of all folds. `epoch` is the last one that all have ended, `history` its and
    the earlier epochs' means."""

    def __init__(
        self,
        config: RunConfig,
        data: TrainingData,
        folder: Path,
        build_model: ModelBuilder,
        on_step: OnStep | None,
    ) -> None:
        self._config = config
        self._data = data
        self._build_model = build_model
        self._on_step = on_step
        # Folds whose sizes differ by an image may differ in their steps, and so in the schedule.
        self._networks: dict[StepPlan, tuple[keras.Model, Arrays, Arrays]] = {}
        self._mirrored: dict[StepPlan, keras.Model] = {}
        self._folds = []
        for number, of_fold in enumerate(data.of_folds):
            place = fold_folder(folder, number)
            place.mkdir(parents=True, exist_ok=True)
            plan = StepPlan.of(config.train, len(of_fold.train))
            self._folds.append(_Fold(number, of_fold, CheckpointFolder(place), plan))
        self.history: tuple[EpochRecord, ...] = ()

    @property
    def epoch(self) -> int:
        return min(fold.epoch for fold in self._folds)

    def load(self, last_epoch: int) -> None:
        """Read the folds' checkpoints, of that epoch or earlier."""
        for fold in self._folds:
            if fold.state is None or fold.state.epoch > last_epoch:
                fold.state = fold.checkpoints.latest(last_epoch)
        self._follow()

    def advance(self, last_epoch: int) -> None:
        """Train the fold that is furthest behind for an epoch; the first of equals."""
        fold = min(self._folds, key=lambda fold: fold.epoch)
        model = self._network_of(fold)
        best = self._best_weights(fold, model)
        watch = None
        if self._on_step is not None:
            watch = StepWatch(self._shifted(fold, self._on_step), last_epoch)
        try:
            record = train_epoch(
                model, self._config.train, fold.data, fold.plan, fold.epoch + 1, None, watch
            )
        except TrialFailed as error:
            raise TrialFailed(f"fold {fold.number}: {error}") from error
        history = () if fold.state is None else fold.state.history
        fold.state = Checkpoint(
            weights=arrays_of(model.weights),
            optimizer=arrays_of(model.optimizer.variables),
            best_weights=best,
            history=(*history, record),
        )
        fold.checkpoints.save(fold.state)
        self._follow()

    def result(self, *, stopped_early: bool, costs: Sequence[str]) -> RunResult:
        """Measure each fold's best weights on the test set."""
        best = best_epoch(self.history, self._config.train.monitor)
        weights = [self._best_weights(fold, self._network_of(fold)) for fold in self._folds]
        measured: list[dict[str, float]] = []
        of_costs, parameters = dict[str, float](), 0
        for (fold, state), own in zip(self._states(), weights, strict=True):
            model, _, _ = self._networks[fold.plan]
            restore_weights(model, own)
            answering = self._answering(fold.plan)
            with seeded_epoch(answering, self._config.train.seed, best):
                test = evaluate(answering, self._data.test, TEST)
                if fold.number == 0:
                    shape, classes = self._data.image_shape, self._data.train.classes
                    of_costs = measured_costs(costs, self._config, answering, shape, classes)
                    parameters = answering.count_params()
            check_finite(best, test)
            measured.append({**state.history[best - 1].metrics, **test})
        means = {name: statistics.fmean(each[name] for each in measured) for name in test}
        return RunResult(
            last_epoch=self.epoch,
            best_epoch=best,
            best_metrics=self.history[best - 1].metrics,
            test_accuracy=means.pop("test_accuracy"),
            test_loss=means.pop("test_loss"),
            test_metrics=means,
            costs=of_costs,
            train_seconds=sum(record.metrics["epoch_seconds"] for record in self.history),
            parameters=parameters,
            stopped_early=stopped_early,
            weights_sha256=digest_of([weights_digest(s.weights) for _, s in self._states()]),
            best_weights_sha256=digest_of([weights_digest(own) for own in weights]),
            folds=tuple(measured),
        )

    def _network_of(self, fold: _Fold) -> keras.Model:
        """Return the network, in the state of that fold."""
        if fold.plan not in self._networks:
            model = compiled_model(self._config, fold.data, fold.plan, self._build_model)
            initial = arrays_of(model.weights), arrays_of(model.optimizer.variables)
            self._networks[fold.plan] = (model, *initial)
        model, weights, optimizer = self._networks[fold.plan]
        restore(model, fold.state or Checkpoint(weights, optimizer, weights, ()))
        return model

    def _answering(self, plan: StepPlan) -> keras.Model:
        """Return the network as it is measured; after that it is not trained again."""
        if not self._config.train.test_flip:
            return self._networks[plan][0]
        if plan not in self._mirrored:
            model = with_mirror_images(self._networks[plan][0], self._data.image_shape)
            self._mirrored[plan] = model
        return self._mirrored[plan]

    def _states(self) -> Iterator[tuple[_Fold, Checkpoint]]:
        for fold in self._folds:
            assert fold.state is not None  # it has ended an epoch
            yield fold, fold.state

    def _best_weights(self, fold: _Fold, model: keras.Model) -> Arrays:
        """Return the weights of the best epoch of those that all folds have ended, of which the
        fold's last one, whose state the model has, is the latest."""
        if fold.state is None:
            return arrays_of(model.weights)
        if best_epoch(self.history[: fold.epoch], self._config.train.monitor) == fold.epoch:
            return averaged_weights(model)
        return fold.state.best_weights

    def _follow(self) -> None:
        histories = [() if fold.state is None else fold.state.history for fold in self._folds]
        self.history = tuple(map(mean_of, zip(*histories, strict=False)))

    def _shifted(self, fold: _Fold, on_step: OnStep) -> OnStep:
        """Return a callback for a fold's steps, counted among those of all folds."""

        def tell(progress: StepProgress) -> None:
            steps = [each.plan.of_epoch(progress.epoch) for each in self._folds]
            before = sum(steps[: fold.number])
            on_step(replace(progress, step=before + progress.step, steps=sum(steps)))

        return tell


def mean_of(records: Sequence[EpochRecord]) -> EpochRecord:
    """Return one record of the same epoch of all folds."""
    metrics = {
        name: statistics.fmean(record.metrics[name] for record in records)
        for name in records[0].metrics
    }
    metrics["epoch_seconds"] = sum(record.metrics["epoch_seconds"] for record in records)
    return EpochRecord(
        records[0].epoch,
        metrics,
        ended_at=max(record.ended_at for record in records),
        folds=tuple(record.metrics for record in records),
    )
