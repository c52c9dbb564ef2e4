"""Rejects names that MLflow or the file system would reject, before anything is written. Stored
configs are not checked, because their names were accepted once."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from fmnist_sweep.config.messages import show
from fmnist_sweep.errors import ConfigError

if TYPE_CHECKING:
    from fmnist_sweep.config.schema import TrackingConfig

MOST_CHARACTERS = 250
"""For an experiment's name, which also names a folder (at most 255 bytes), and for a tag's key,
with the limit of MLflow's databases."""
_TAG_KEY = re.compile(r"[/\w.\- :]+")


def check_tracking_names(tracking: TrackingConfig) -> None:
    """Reject names that cannot be tracked.

    Raises:
        ConfigError: an experiment's name or a tag's key is empty, too long, or has characters that
            MLflow does not allow.
    """
    name = tracking.experiment
    if name is not None and not (
        name.strip() and name.isprintable() and len(name) <= MOST_CHARACTERS
    ):
        raise ConfigError(
            f"tracking.experiment={_shown(name)}: must be a name of 1 to {MOST_CHARACTERS} "
            "printable characters, or null for the default"
        )
    for key in tracking.tags:
        if not _is_tag_key(key):
            raise ConfigError(
                f"tracking.tags: {_shown(key)}: must be a name of 1 to {MOST_CHARACTERS} letters, "
                "digits, spaces, '_', '-', '.', ':' and '/', but no path such as ../a, /a or a//b"
            )


def _is_tag_key(key: str) -> bool:
    plain = posixpath.normpath(key) == key and not key.startswith(("/", ".."))
    return (
        plain and key != "." and len(key) <= MOST_CHARACTERS and _TAG_KEY.fullmatch(key) is not None
    )


def _shown(name: str) -> str:
    """Return a name with blanks and non-printable characters made visible."""
    return show(name) if name.strip() and name.isprintable() else repr(name)
