"""Starts Ray on this machine, or connects to a running cluster."""

from __future__ import annotations

import importlib.util
import math
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fmnist_sweep import runtime
from fmnist_sweep.config.schema import RayConfig
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.executors.held_back import interrupts_held_back
from fmnist_sweep.executors.socket_folder import socket_folder
from fmnist_sweep.reasons import reason_of

_LONGEST_CONNECT = 10.0  # seconds
_MORE_MEMORY = 2**30  # bytes, for checkpoints on their way


def check_ray(config: RayConfig) -> None:
    """Check that Ray is installed, and that a worker fits, before anything is written.

    Raises:
        ConfigError: says what is missing.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "executor=ray: Ray is not installed; make setup RAY=1 installs it (allowed without it: "
            "executor=inline, executor=processes)"
        )
    if config.address is None and config.cpus > runtime.cores():
        raise ConfigError(
            f"executor.cpus={config.cpus:g}: this machine has {runtime.cores()}; allowed: at most "
            "that, or a cluster's executor.address"
        )


@contextmanager
def ray_session(config: RayConfig, data_bytes: int) -> Iterator[None]:
    """Have this process connected to Ray in the block; to the one it is connected to already, if it
    is.

    Raises:
        RunError: Ray cannot be started, or the cluster cannot be reached.
    """
    runtime.quiet_ray(on_this_machine=config.address is None)
    import ray

    if ray.is_initialized():
        yield
        return
    if config.address is not None:
        _check_reachable(config.address)
        _init(address=config.address)
        try:
            yield
        finally:
            ray.shutdown()
        return
    # In a folder of this process's own, which the next sweep removes should this one be killed.
    with socket_folder() as folder:
        cpus = math.ceil(max(runtime.cores(), (config.workers or 0) * config.cpus))
        _init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=data_bytes + _MORE_MEMORY,
            _temp_dir=str(folder),
        )
        try:
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Find out in seconds what Ray would try for minutes."""
    host, _, port = address.partition(":")
    if not port:  # auto
        return
    try:
        socket.create_connection((host, int(port)), _LONGEST_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"executor.address={address}: cannot be reached: {error}") from error


def _init(**arguments: Any) -> None:
    import ray

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with interrupts_held_back():
            ray.init(log_to_driver=False, logging_level="ERROR", **arguments)
    except Exception as error:
        where = arguments["address"]
        where = "on this machine" if where == "local" else f"at executor.address={where}"
        raise RunError(f"executor=ray: no Ray {where}: {reason_of(error)}") from error
    finally:
        if in_main_thread:  # Ray has one of its own, which exits at once
            signal.signal(signal.SIGTERM, before)
