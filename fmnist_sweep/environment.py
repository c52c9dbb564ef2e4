"""The one place that reads and sets environment variables and settings of the process; those of its
libraries that change how numbers are calculated are in `calculation.py`."""

from __future__ import annotations

import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, chdir, contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from fmnist_sweep.cpu_quota import cpu_quota
from fmnist_sweep.errors import ConfigError


def data_dir_from_environment() -> str | None:
    """Return the folder that FMNIST_DATA_DIR names, or None."""
    return os.environ.get("FMNIST_DATA_DIR") or None


def keras_home() -> str:
    """Return the folder where Keras keeps what it downloads."""
    return os.environ.get("KERAS_HOME") or str(Path("~/.keras").expanduser())


def tracking_uri_from_environment() -> str | None:
    """Return MLFLOW_TRACKING_URI, or None."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def hydra_full_error() -> bool:
    """Return whether the user asked for tracebacks with HYDRA_FULL_ERROR=1."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Have Hydra raise its errors, which it else prints itself before it exits."""
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
    """Have no warning be an error in this process and in those that it starts.

    `-W error` and PYTHONWARNINGS=error are for one's own code; in the program they would turn what
    some dependency deprecates into a failed trial, and other dependencies' warnings into others.
    """
    warnings.filters = [each for each in warnings.filters if each[0] != "error"]
    sys.warnoptions[:] = [each for each in sys.warnoptions if not _makes_an_error(each)]
    if "PYTHONWARNINGS" in os.environ:
        given = os.environ["PYTHONWARNINGS"].split(",")
        os.environ["PYTHONWARNINGS"] = ",".join(x for x in given if not _makes_an_error(x))


def _makes_an_error(option: str) -> bool:
    # An action may be shortened, as in `-W e`.
    action = option.partition(":")[0].strip()
    return action != "" and "error".startswith(action)


def quiet_mlflow() -> None:
    """Have MLflow send no usage statistics, print no links and draw no bars; call before it is
    imported.

    It tries a request again for seconds rather than minutes: what could not be sent is kept and
    sent later here. What the user has set stays as it is.
    """
    # Of its bars, in a notebook that lacks what would draw them.
    warnings.filterwarnings("ignore", message="IProgress not found")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def become(words: tuple[str, ...], *, backend_store: str) -> NoReturn:
    """Replace this process by MLflow's server. The store's address goes into its environment: it
    may have a password, and everybody on a machine can read what programs are called with."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": backend_store}
    # Runners of jobs for language models: a dozen processes, which outlive the server by a minute.
    environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.execve(words[0], words, environment)


KERAS_NEEDS = {"KERAS_BACKEND": "tensorflow", "KERAS_NNX_ENABLED": "0"}
"""Environment variables as Keras has to find them when it is imported; they are ahead of what its
file of settings, keras.json, says."""


def load_tensorflow() -> None:
    """Import TensorFlow and Keras, without their start-up notes, which no setting of its own
    silences all; Keras on TensorFlow, whatever the user's settings of it.

    Raises:
        ConfigError: Keras runs on something else in this process already, or cannot be imported
            with the user's settings.
    """
    if "tensorflow" not in sys.modules or "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        refused: Exception | None = None
        with _variables(KERAS_NEEDS), _stderr_aside():
            load_matplotlib()  # Keras imports it too, and would raise what it raises
            try:
                import keras
                import tensorflow as tf  # which reads keras.json too
            except (AssertionError, AttributeError, OSError, TypeError, ValueError) as error:
                refused = error
        if refused is not None:
            raise ConfigError(_keras_cannot_be_imported(refused)) from refused
        # Each trial's network is traced anew; that is how it has to be, and no reason to warn.
        tf.get_logger().setLevel("ERROR")
    import keras

    if keras.config.backend() != KERAS_NEEDS["KERAS_BACKEND"]:
        raise ConfigError(
            f"Keras runs on {keras.config.backend()} in this process; allowed: tensorflow: set "
            "KERAS_BACKEND=tensorflow before keras is imported"
        )


def _keras_cannot_be_imported(error: Exception) -> str:
    """Return a line that names what Keras reads when it is imported."""
    found = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if "KERAS_" in name]
    places = ", ".join([str(Path(keras_home()) / "keras.json"), *found])
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"Keras cannot be imported with the settings that it finds ({places}): {reason}"


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables inside the block, and give them back their own values."""
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
    """Import Matplotlib: without the user's settings where they keep it from being imported, as
    a file that cannot be read does, and MPLBACKEND where it names no backend."""
    try:
        import matplotlib
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 - whatever it makes of what somebody has written there
        for module in [name for name in sys.modules if name.startswith("matplotlib.")]:
            del sys.modules[module]  # left over by half an import
        before = {name: os.environ.get(name) for name in ("MATPLOTLIBRC", "MPLBACKEND")}
        os.environ.update(MATPLOTLIBRC=os.devnull, MPLBACKEND="agg")
        try:
            # It looks in the working directory first, and there is none in this one.
            with chdir(Path(__file__).parent):
                import matplotlib  # noqa: F401
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value


@contextmanager
def _stderr_aside() -> Iterator[None]:
    """Keep what is written to the process's standard error, and write it only after an error."""
    if sys.stderr is None:  # closed, as a service's may be
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
    """Return the number of processor cores that this process may use, at least 1. A quota of a
    container that is no whole number is rounded up: with fewer threads a part of it is never used.
    """
    quota = cpu_quota()
    available = _cores_to_run_on()
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def _cores_to_run_on() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def numeric_settings() -> dict[str, str]:
    """Return the environment variables that are set and change how numbers are calculated."""
    return {name: os.environ[name] for name in _NUMERIC_SETTINGS if name in os.environ}


# As the libraries of TensorFlow 2.21 and NumPy 2 have them.
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


MASK = "***"


def without_secrets(text: str) -> str:
    """Return a text without the secrets of the environment, `***` in their places.

    Those are the values of variables whose names say so, such as HF_TOKEN, from 8 characters on,
    and passwords in addresses: in the text itself, and alone where a variable has that address.
    """
    found = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and not _NAME_OF_A_PLACE.search(name):
            found |= {value, *value.splitlines()}  # in a diff each line has a sign before it
        for password in _PASSWORD.findall(value):
            found |= {password[1], unquote(password[1])}
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    for secret in sorted({value.strip() for value in found}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text


_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|PRIVATE|CREDENTIAL|API_?KEY|ACCESS_?KEY"
    r"|_KEY$|(^|_)(AUTH|AUTHORIZATION|DSN|PASS|PAT|PW)(_|$)|_PWD$",
    re.IGNORECASE,
)
_NAME_OF_A_PLACE = re.compile(r"_(DIR|FILE|PATH|SOCK)$", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:\s\"']*):([^/@\s\"']*)@")
_PARAMETER = re.compile(r"([?&](?:password|passwd|token|secret|key)=)[^&\s\"']+", re.IGNORECASE)
_SHORTEST_SECRET = 8


def accelerators() -> list[str]:
    """Return the names of the GPUs and the like that TensorFlow sees."""
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
    """Have this process take of an accelerator's memory what it needs, not all of it at once, as it
    would by default; others use it too."""
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)


def one_blas_thread() -> AbstractContextManager[object]:
    """Have NumPy's and SciPy's linear algebra use one thread inside the block."""
    import threadpoolctl

    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(1, user_api="blas")
    return limits


def use_threads(threads: int) -> None:
    """Fix the number of threads of TensorFlow's operations, which the last bits depend on.

    Raises:
        ConfigError: TensorFlow was started with another number already in this process.
    """
    load_tensorflow()
    import tensorflow as tf

    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        # 0 where nobody asked for a number: it took one a core then, and knows no quotas.
        started = threading.get_intra_op_parallelism_threads() or _cores_to_run_on()
        if started != threads:
            raise ConfigError(
                f"train.threads={threads}: TensorFlow was started with {started} in this process "
                "and cannot change; start another process for another number"
            ) from error
    if accelerators():
        # On a CPU a fixed number of threads is enough; a GPU's kernels have to be asked.
        tf.config.experimental.enable_op_determinism()
