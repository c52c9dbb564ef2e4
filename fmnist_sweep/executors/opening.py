"""Opens the executor of a config."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from fmnist_sweep.config.metrics import metrics_of_your_own
from fmnist_sweep.config.schema import Config, InlineConfig, ProcessesConfig, RayConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.executors.inline import InlineExecutor
from fmnist_sweep.executors.protocol import Executor, OnRungStep
from fmnist_sweep.executors.ray_session import check_ray, ray_session
from fmnist_sweep.executors.socket_folder import remove_abandoned
from fmnist_sweep.executors.trainer import trainer
from fmnist_sweep.executors.worker_messages import Job
from fmnist_sweep.journal.reached import reached_by
from fmnist_sweep.training.preparation import Prepared
from fmnist_sweep.training.saved_code import registered_here
from fmnist_sweep.training.train import ModelBuilder


def check_executor(config: Config, build_model: ModelBuilder | None) -> None:
    """Reject a builder or metric that cannot be sent to a worker process, and Ray where it is not
    installed, before anything is written.

    Raises:
        ConfigError: says why.
    """
    if isinstance(config.executor, RayConfig):
        check_ray(config.executor)
    sent = {f"metric {metric.name}": metric for metric in metrics_of_your_own()}
    if isinstance(config.executor, InlineConfig) or (build_model is None and not sent):
        return
    import cloudpickle

    for name, thing in {"build_model": build_model, **sent}.items():
        try:
            cloudpickle.dumps(thing)
        except Exception as error:
            raise ConfigError(
                f"executor={config.executor.name}: {name} cannot be sent to a worker "
                f"process: {error}; executor=inline has no such limit"
            ) from error


@contextmanager
def open_executor(
    config: Config,
    prepared: Prepared,
    build_model: ModelBuilder | None,
    sweep: Path,
    on_step: OnRungStep | None = None,
) -> Iterator[Executor]:
    """Yield the executor of `config.executor`. `sweep` is the sweep's folder, which contains the
    data that worker processes map into memory. `on_step` is called in the same thread as
    `on_epoch`; None disables it."""
    shared = sweep / "data"
    shutil.rmtree(shared, ignore_errors=True)  # left by a killed process
    remove_abandoned()
    match config.executor:
        case InlineConfig():
            every_steps = config.tracking.every_steps
            yield InlineExecutor(trainer(prepared.data, build_model, every_steps, on_step))
        case ProcessesConfig():
            with _processes(config, prepared, build_model, shared, on_step) as executor:
                yield executor
        case RayConfig():
            with _ray(config, prepared, build_model, on_step) as executor:
                yield executor
        case unknown:
            assert_never(unknown)


@contextmanager
def _processes(
    config: Config,
    prepared: Prepared,
    build_model: ModelBuilder | None,
    shared: Path,
    on_step: OnRungStep | None,
) -> Iterator[Executor]:
    assert isinstance(config.executor, ProcessesConfig)
    from fmnist_sweep.executors.processes import worker_processes

    job = _job(config, prepared, build_model, shared, on_step)
    try:
        prepared.data.save(shared)
        workers, retries = config.executor.workers, config.executor.retries
        with worker_processes(workers, retries, job, on_step) as executor:
            yield executor
    finally:
        shutil.rmtree(shared, ignore_errors=True)


@contextmanager
def _ray(
    config: Config,
    prepared: Prepared,
    build_model: ModelBuilder | None,
    on_step: OnRungStep | None,
) -> Iterator[Executor]:
    assert isinstance(config.executor, RayConfig)
    import cloudpickle

    arrays = prepared.data.arrays()
    size = sum(array.nbytes for both in arrays.values() for array in both)
    with ray_session(config.executor, size):
        from fmnist_sweep.executors.ray_executor import ray_workers
        from fmnist_sweep.executors.ray_pool import Supplies

        job = cloudpickle.dumps(_job(config, prepared, build_model, None, on_step))
        supplies = Supplies.of(job, cloudpickle.dumps(config.run), arrays)
        del arrays  # they are in the object store
        with ray_workers(config.executor, supplies, on_step) as executor:
            yield executor


def _job(
    config: Config,
    prepared: Prepared,
    build_model: ModelBuilder | None,
    shared: Path | None,
    on_step: OnRungStep | None,
) -> Job:
    assert config.train.threads is not None  # set by `with_threads`
    return Job(
        shared,
        prepared.dataset.classes,
        config.train.threads,
        build_model,
        config.tracking.every_steps,
        tells_steps=on_step is not None,
        registered={} if build_model is None else registered_here(),
        reaches=None if build_model is None else reached_by(build_model),
        metrics=metrics_of_your_own(),
    )
