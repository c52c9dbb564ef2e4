"""Calls to MLflow without console output and with one-line errors."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils as tracking_service
from sqlalchemy.exc import SQLAlchemyError

from fmnist_sweep.errors import FmnistSweepError, Refused, RunError
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.tracking.unsent import MISTAKES

_MAX_REASON = 300
# Error codes of requests that MLflow understood and rejected. Other codes, from failing servers and
# proxies, expired logins or locked databases, may be temporary.
_FINAL = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")


@contextmanager
def one_line_errors(doing: str, uri: str) -> Iterator[None]:
    """Convert errors of MLflow, its database, a storage library or the network to a RunError of one
    line, or to Refused if retrying cannot help.

    `doing` completes "MLflow could not ...". Programming errors are not converted.
    """
    try:
        yield
    except Exception as error:
        known = isinstance(error, (MlflowException, SQLAlchemyError, OSError, JSONDecodeError))
        if not known and isinstance(error, (FmnistSweepError, *MISTAKES)):
            raise
        message = f"MLflow could not {doing} at {uri}: {short_reason(error)}"
        is_final = isinstance(error, ImportError) or getattr(error, "error_code", None) in _FINAL
        kind = Refused if is_final else RunError
        raise kind(without_secrets(message)) from error


@contextmanager
def collector_paused() -> Iterator[None]:
    """Have Python's collector of cycles wait until the end of the block. A search makes an object
    of each tag, param and metric; to go through them over and over takes as long as the rest."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def short_reason(error: Exception) -> str:
    """Return the first line of an error's message, with at most 300 characters."""
    if isinstance(error, ImportError) and error.name:
        return f"the Python package {error.name} is not installed"
    lines = (line.strip() for line in str(error).splitlines())
    reason = next((line for line in lines if line), type(error).__name__)
    return reason if len(reason) <= _MAX_REASON else f"{reason[:_MAX_REASON]}…"


def forget_artifact_folders() -> None:
    """Make MLflow look up the artifact location of each run again.

    MLflow caches it for the whole process by run ID, which a run and its copy in another workspace
    share.
    """
    # There is no public API for this.
    getattr(tracking_service, "_artifact_repos_cache", {}).clear()


def quoted(text: str) -> str:
    """Return a text as a string of MLflow's search syntax."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def quiet_logging() -> None:
    """Keep MLflow's progress messages, and tracebacks of errors that it also raises, off stderr."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    database = logging.getLogger("mlflow.store.db.utils")
    if _raised_anyway not in database.filters:
        database.addFilter(_raised_anyway)


def _raised_anyway(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR
