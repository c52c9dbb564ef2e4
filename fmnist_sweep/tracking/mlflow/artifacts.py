"""Checks that an experiment's artifacts can be written, before anything is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.files import can_be_written
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.tracking.mlflow.calls import short_reason

_SECONDS = 30.0
_NO_ARTIFACT = "fmnist-sweep"  # an empty listing; a whole experiment may have thousands of folders


def require_artifacts(experiment: str, location: str, tracking_uri: str) -> None:
    """Reject an experiment whose artifacts cannot be written; nothing is written here.

    A local folder, which need not exist yet, is checked for permissions. From any other storage a
    listing is requested, which needs the same library, credentials and network as an upload.

    Raises:
        ConfigError: artifacts cannot be written; the message says what is needed.
        RunError: the storage does not respond.
    """
    scheme = urlsplit(location).scheme
    about = f"experiment {experiment!r}: its artifacts cannot be written to {location}: "
    other = "choose another tracking.experiment"
    if scheme in ("", "file"):
        folder = local_file_uri_to_path(location)  # type: ignore[no-untyped-call]
        if not can_be_written(folder):
            raise ConfigError(f"{about}not a writable folder; {other}")
        return
    if scheme == "mlflow-artifacts" and not tracking_uri.startswith("http"):
        raise ConfigError(
            f"{without_secrets(about)}they are stored by a tracking server; set tracking.uri to "
            f"its address (now {without_secrets(tracking_uri)}), or {other}"
        )
    error = _error_of(lambda: _list(location, tracking_uri))
    if error is not None:
        may_pass = isinstance(error, OSError)  # network errors are
        kind = RunError if may_pass else ConfigError
        raise kind(without_secrets(f"{about}{short_reason(error)}; {other}")) from error


def _list(location: str, tracking_uri: str) -> None:
    get_artifact_repository(location, tracking_uri).list_artifacts(_NO_ARTIFACT)


def _error_of(call: Callable[[], None]) -> Exception | None:
    """Return the error that a call raises, or TimeoutError: storage libraries may retry for
    minutes."""
    raised: list[Exception] = []

    def catch() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - errors differ between storage libraries
            raised.append(error)

    thread = threading.Thread(target=catch, name="artifacts", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if thread.is_alive():
        return TimeoutError(f"no response within {_SECONDS:g} seconds")
    return raised[0] if raised else None
