"""The runs of trainings after the search, below that of their trial: confirmations, and the winner
of trials on folds on all images that are not test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.journal.records import Confirmed, Refitted
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.space.overrides import refit_config, straight_config, with_train
from fmnist_sweep.tracking.keys import confirmation_key, refit_key
from fmnist_sweep.tracking.run_log import log_digests, log_metrics, start_run
from fmnist_sweep.tracking.tracker import Tracker


class LaterRuns:
    """Logs trainings that have ended.

    Args:
        tracker: receives the runs.
        base: the config that overrides are of.
        sweep: the sweep's name.
        tags: of each run.
    """

    def __init__(
        self, tracker: Tracker, base: RunConfig, sweep: str, tags: Mapping[str, str]
    ) -> None:
        self._tracker = tracker
        self._base = base
        self._sweep = sweep
        self._tags = tags

    def key_of(self, trial_key: str, record: Confirmed | Refitted) -> str:
        """Return the key of a training's run."""
        if isinstance(record, Confirmed):
            return confirmation_key(trial_key, record.seed)
        return refit_key(trial_key, record.result.last_epoch)

    def log(
        self, trial_key: str, record: Confirmed | Refitted, trial: Trial, environment: Environment
    ) -> None:
        """Start a training's run and log its result; the run is not ended."""
        key = self.key_of(trial_key, record)
        role, suffix, config, params = self._about(record, trial)
        start_run(
            self._tracker,
            key=key,
            name=f"{self._sweep}-{record.trial}-{suffix}",
            config=config,
            params=lambda: params,
            tags={**self._tags, "fmnist.role": role, "sweep.name": self._sweep},
            environment=environment,
            started_at=record.at - record.result.train_seconds,
            parent_key=trial_key,
        )
        log_metrics(self._tracker, key, record.result, at=record.at)
        log_digests(self._tracker, key, record.result)

    def _about(
        self, record: Confirmed | Refitted, trial: Trial
    ) -> tuple[str, str, Callable[[], RunConfig], dict[str, Any]]:
        """The run's role, the end of its name, its config, and its parameters."""
        overrides, result = trial.overrides, record.result
        if isinstance(record, Refitted):
            return (
                "refit",
                "all",
                lambda: refit_config(self._base, overrides, result.last_epoch),
                {},
            )
        seed, last_epoch = record.seed, trial.last_epoch

        def config() -> RunConfig:
            return with_train(straight_config(self._base, overrides, last_epoch), seed=seed)

        return "confirmation", f"seed{seed}", config, {"train.seed": seed}
