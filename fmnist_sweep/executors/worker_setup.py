"""Makes a process a worker of a sweep; shared by the engines that train in other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_sweep import runtime
from fmnist_sweep.config.metrics import register as register_metric_here
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.executors.protocol import OnRungStep, Train
from fmnist_sweep.executors.worker_messages import Job
from fmnist_sweep.journal.reached import differing_parts, reached_by

if TYPE_CHECKING:
    from fmnist_sweep.training.batches import TrainingData


def set_up(job: Job) -> None:
    """Load and configure TensorFlow for a job.

    Raises:
        ConfigError: the job's builder differs in this process, or TensorFlow cannot be used.
    """
    check_builder(job)
    runtime.load_tensorflow()
    runtime.use_threads(job.threads)
    runtime.share_accelerators()


def trainer_of(job: Job, data: TrainingData, on_step: OnRungStep) -> Train:
    """Return the function that trains the job's rungs on the data; call `set_up` before."""
    from fmnist_sweep.executors.trainer import trainer  # imports TensorFlow
    from fmnist_sweep.training.saved_code import register

    register(job.registered)
    for metric in job.metrics:
        register_metric_here(metric)
    return trainer(data, job.build_model, job.every_steps, on_step if job.tells_steps else None)


def check_builder(job: Job) -> None:
    """Reject a builder that differs in this process: a worker imports the user's modules from disk,
    while the owner may have an older version of them, or values set since."""
    if job.build_model is None or job.reaches is None:
        return
    differ = differing_parts(job.reaches, reached_by(job.build_model))
    if differ:
        raise ConfigError(
            f"build_model differs in a worker process, which imports modules from disk: "
            f"{', '.join(differ)}; restart the program, or use executor=inline"
        )
