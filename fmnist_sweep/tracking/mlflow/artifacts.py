"""Whether an experiment's artifacts can be written from here; found out before anything is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from fmnist_sweep.environment import without_secrets
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.files import can_be_written
from fmnist_sweep.tracking.mlflow.calls import short_reason

_SECONDS = 30.0
_NO_ARTIFACT = "fmnist-sweep"  # lists nothing; a whole experiment may have thousands of folders


def require_artifacts(experiment: str, location: str, tracking_uri: str) -> None:
    """Refuse an experiment whose artifacts could not be written; nothing is written here.

    A local folder, which need not exist yet, is looked at. Any other place is asked for a listing,
    once, which needs what an upload needs: its library, its credentials, its network.

    Raises:
        ConfigError: they cannot; the message says what is needed.
        RunError: the place does not answer.
    """
    scheme = urlsplit(location).scheme
    about = f"experiment {experiment!r}: its artifacts cannot be written to {location}: "
    other = "choose another tracking.experiment"
    if scheme in ("", "file"):
        folder = local_file_uri_to_path(location)  # type: ignore[no-untyped-call]
        if not can_be_written(folder):
            raise ConfigError(f"{about}not a folder that you may write to; {other}")
        return
    if scheme == "mlflow-artifacts" and not tracking_uri.startswith("http"):
        raise ConfigError(
            f"{without_secrets(about)}a tracking server keeps them; set tracking.uri to that "
            f"server's address (now {without_secrets(tracking_uri)}), or {other}"
        )
    error = _error_of(lambda: _list(location, tracking_uri))
    if error is not None:
        may_pass = isinstance(error, OSError)  # the network's are
        kind = RunError if may_pass else ConfigError
        raise kind(without_secrets(f"{about}{short_reason(error)}; {other}")) from error


def _list(location: str, tracking_uri: str) -> None:
    get_artifact_repository(location, tracking_uri).list_artifacts(_NO_ARTIFACT)


def _error_of(call: Callable[[], None]) -> Exception | None:
    """Return what a call raises; libraries of storages have patience for minutes, this has not."""
    raised: list[Exception] = []

    def catch() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - each storage's library has its own
            raised.append(error)

    thread = threading.Thread(target=catch, name="artifacts", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if thread.is_alive():
        return TimeoutError(f"no answer in {_SECONDS:g} seconds")
    return raised[0] if raised else None
