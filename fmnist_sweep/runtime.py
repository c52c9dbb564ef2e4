"""Reads and sets environment variables and global process settings; only this module does (secrets
are read in `masking.py`). Library settings that change numerical results are in
`calculation.py`."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, chdir, contextmanager
from pathlib import Path
from typing import NoReturn

from fmnist_sweep.cpu_quota import cpu_quota
from fmnist_sweep.errors import ConfigError


def data_dir_from_environment() -> str | None:
    """Return FMNIST_DATA_DIR, or None."""
    return os.environ.get("FMNIST_DATA_DIR") or None


def keras_home() -> str:
    """Return the folder for Keras's downloads."""
    return os.environ.get("KERAS_HOME") or str(Path("~/.keras").expanduser())


def tracking_uri_from_environment() -> str | None:
    """Return MLFLOW_TRACKING_URI, or None."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def hydra_full_error() -> bool:
    """Return whether the user requested tracebacks with HYDRA_FULL_ERROR=1."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Make Hydra raise its errors, which it otherwise prints before it exits."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def show_warnings_only() -> None:
    """Prevent warnings from being errors in this process and its child processes.

    `-W error` and PYTHONWARNINGS=error are meant for one's own code; here they would turn
    deprecation warnings of dependencies into failed trials.
    """
    warnings.filters = [each for each in warnings.filters if each[0] != "error"]
    sys.warnoptions[:] = [each for each in sys.warnoptions if not _makes_an_error(each)]
    if "PYTHONWARNINGS" in os.environ:
        given = os.environ["PYTHONWARNINGS"].split(",")
        os.environ["PYTHONWARNINGS"] = ",".join(x for x in given if not _makes_an_error(x))


def _makes_an_error(option: str) -> bool:
    # An action may be abbreviated, as in `-W e`.
    action = option.partition(":")[0].strip()
    return action != "" and "error".startswith(action)


def quiet_mlflow() -> None:
    """Make MLflow send no usage statistics and print no links or progress bars; must be called
    before it is imported.

    It retries requests for seconds instead of minutes, because unsent data is kept and sent later.
    The user's own settings have priority.
    """
    # About its progress bars, in a notebook without the package that draws them.
    warnings.filterwarnings("ignore", message="IProgress not found")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def quiet_ray(*, on_this_machine: bool) -> None:
    """Make Ray send no usage statistics; if it is started on this machine, it and its processes
    listen on 127.0.0.1 only. Must be called before it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if on_this_machine:
        # Ray's name of the setting, which works on Linux too.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def become(words: tuple[str, ...], *, backend_store: str) -> NoReturn:
    """Replace this process by MLflow's server. The store's address is passed in the environment,
    because it may contain a password and command lines are visible to all users."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": backend_store}
    # Job runners for language models: a dozen processes, which outlive the server by a minute.
    environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.execve(words[0], words, environment)


KERAS_NEEDS = {"KERAS_BACKEND": "tensorflow", "KERAS_NNX_ENABLED": "0"}
"""Environment variables that Keras needs when it is imported; they have priority over its settings
file, keras.json."""


def load_tensorflow() -> None:
    """Import TensorFlow and Keras without their start-up messages, not all of which can be
    disabled; Keras with TensorFlow, regardless of the user's settings.

    Raises:
        ConfigError: Keras already uses another backend in this process, or cannot be imported with
            the user's settings.
    """
    if "tensorflow" not in sys.modules or "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        refused: Exception | None = None
        with _variables(KERAS_NEEDS), _stderr_aside():
            load_matplotlib()  # Keras imports it too, and would raise its errors
            try:
                import keras
                import tensorflow as tf  # which reads keras.json too
            except (AssertionError, AttributeError, OSError, TypeError, ValueError) as error:
                refused = error
        if refused is not None:
            raise ConfigError(_keras_cannot_be_imported(refused)) from refused
        # The network of each trial is traced anew, which is intended.
        tf.get_logger().setLevel("ERROR")
    import keras

    if keras.config.backend() != KERAS_NEEDS["KERAS_BACKEND"]:
        raise ConfigError(
            f"Keras uses {keras.config.backend()} in this process; allowed: tensorflow: set "
            "KERAS_BACKEND=tensorflow before keras is imported"
        )


def _keras_cannot_be_imported(error: Exception) -> str:
    """Return a message that names what Keras reads when it is imported."""
    found = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if "KERAS_" in name]
    places = ", ".join([str(Path(keras_home()) / "keras.json"), *found])
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"Keras cannot be imported with these settings ({places}): {reason}"


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, and restore them at its end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def load_matplotlib() -> None:
    """Import Matplotlib without user settings that prevent it from being imported: an unreadable
    file, or an invalid MPLBACKEND."""
    try:
        import matplotlib
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 - invalid settings raise all kinds
        for module in [name for name in sys.modules if name.startswith("matplotlib.")]:
            del sys.modules[module]  # left by an incomplete import
        before = {name: os.environ.get(name) for name in ("MATPLOTLIBRC", "MPLBACKEND")}
        os.environ.update(MATPLOTLIBRC=os.devnull, MPLBACKEND="agg")
        try:
            # It looks in the working directory first, and this one has no settings file.
            with chdir(Path(__file__).parent):
                import matplotlib  # noqa: F401
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value


@contextmanager
def _stderr_aside() -> Iterator[None]:
    """Buffer the process's standard error, and write it only after an error."""
    if sys.stderr is None:  # closed, as for some services
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as aside:
        before = os.dup(2)
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(before, 2)
            aside.seek(0)
            os.write(2, aside.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


def cores() -> int:
    """Return the number of processor cores that this process may use, at least 1. A fractional
    container quota is rounded up, because otherwise a part of it would never be used.
    """
    quota = cpu_quota()
    available = _cores_to_run_on()
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def _cores_to_run_on() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def numeric_settings() -> dict[str, str]:
    """Return the environment variables that are set and affect numerical results."""
    return {name: os.environ[name] for name in _NUMERIC_SETTINGS if name in os.environ}


# As in TensorFlow 2.21 and NumPy 2.
_NUMERIC_SETTINGS = (
    "CUBLAS_WORKSPACE_CONFIG", "DNNL_DEFAULT_FPMATH_MODE", "DNNL_MAX_CPU_ISA",
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE",
    "TF_AUTOTUNE_THRESHOLD", "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_LEVEL",
    "TF_CONV2D_USE_FP16_ACCUMULATE", "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_DISABLE_CONV_1X1_OPTIMIZATION", "TF_CUDNN_USE_AUTOTUNE",
    "TF_CUDNN_USE_RUNTIME_FUSION", "TF_CUDNN_WORKSPACE_LIMIT_IN_MB", "TF_DETERMINISTIC_OPS",
    "TF_DISABLE_JIT_KERNELS", "TF_ENABLE_ONEDNN_OPTS", "TF_ENABLE_WINOGRAD_NONFUSED",
    "TF_ENABLE_ZENDNN_OPTS", "TF_FP16_CONV_USE_FP32_COMPUTE", "TF_FP16_MATMUL_USE_FP32_COMPUTE",
    "TF_MATMUL_AUTOTUNE_ENABLE", "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS", "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_USE_CUBLASLT", "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT", "TF_USE_DEEP_CONV2D",
    "TF_USE_DEFAULT_CONV_ALGO", "TF_XLA_FLAGS", "XLA_FLAGS",
)  # fmt: skip


def accelerators() -> list[str]:
    """Return the names of the GPUs and other accelerators that TensorFlow detects."""
    load_tensorflow()
    import tensorflow as tf

    with _stderr_aside():
        found = [
            device for device in tf.config.list_physical_devices() if device.device_type != "CPU"
        ]
        return [
            tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in found
        ]


def share_accelerators() -> None:
    """Make this process allocate an accelerator's memory as needed, not all at once, which is the
    default, so that other processes can use it too."""
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)


def one_blas_thread() -> AbstractContextManager[object]:
    """Make NumPy's and SciPy's linear algebra use one thread inside the block."""
    import threadpoolctl

    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(1, user_api="blas")
    return limits


def use_threads(threads: int) -> None:
    """Set the number of threads of TensorFlow's operations, which affects the last bits.

    Raises:
        ConfigError: TensorFlow already uses another number in this process.
    """
    load_tensorflow()
    import tensorflow as tf

    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        # 0 if the number was not set: then it is one per core, without regard to quotas.
        started = threading.get_intra_op_parallelism_threads() or _cores_to_run_on()
        if started != threads:
            raise ConfigError(
                f"train.threads={threads}: TensorFlow already uses {started} in this process, and "
                "cannot change; start another process for another number"
            ) from error
    if accelerators():
        # On a CPU a fixed number of threads is enough; GPU kernels need this option.
        tf.config.experimental.enable_op_determinism()
