"""A tracking server: whether it is there at all."""

from __future__ import annotations

import ssl
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from fmnist_sweep.environment import without_secrets
from fmnist_sweep.errors import RunError

_TIMEOUT_SECONDS = 10


def require_answer(uri: str) -> None:
    """Raise RunError where nothing answers at `uri`; any answer will do."""
    parts = urlsplit(uri)
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    try:
        with urlopen(f"{address.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS):
            return
    except HTTPError:
        return  # it answers; MLflow knows what else it wants
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLError):
            return  # MLflow has its own settings for certificates
        raise RunError(
            f"the tracking server {without_secrets(uri)} does not answer: {reason}; "
            "start it, or leave out tracking.uri to use the local store"
        ) from error
