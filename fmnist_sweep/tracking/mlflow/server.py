"""Checks that a tracking server responds."""

from __future__ import annotations

import ssl
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from fmnist_sweep.errors import RunError
from fmnist_sweep.masking import without_secrets

_TIMEOUT_SECONDS = 10


def require_answer(uri: str) -> None:
    """Raise RunError if nothing responds at `uri`; any response is accepted."""
    parts = urlsplit(uri)
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    try:
        with urlopen(f"{address.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS):
            return
    except HTTPError:
        return  # any response counts; MLflow handles the rest
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLError):
            return  # left to MLflow's own certificate settings
        raise RunError(
            f"the tracking server {without_secrets(uri)} does not respond: {reason}; "
            "start it, or omit tracking.uri to use the local store"
        ) from error
