"""Disables MLflow's autologging for this package's training, without importing MLflow."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _OffInThisThread(threading.local):
    """Truthy in a thread that is inside `autologging_off`; blocks can be nested."""

    depth = 0

    def __bool__(self) -> bool:
        return self.depth > 0


_off_in_this_thread = _OffInThisThread()


@contextmanager
def autologging_off() -> Iterator[None]:
    """Disable MLflow's autologging in this thread inside the block; also a decorator.

    A notebook may have called `mlflow.autolog()`, which patches `fit` of Keras and scikit-learn in
    the whole process: it adds callbacks, and creates runs in the user's store or logs to the active
    run. MLflow's own flag that disables it affects all threads, and nested blocks end each other;
    here, fits in other threads are still logged.
    """
    autologging = sys.modules.get("mlflow.utils.autologging_utils")  # else nothing is patched
    if getattr(autologging, _FLAG, True) is False:
        setattr(autologging, _FLAG, _off_in_this_thread)
    _off_in_this_thread.depth += 1
    try:
        yield
    finally:
        _off_in_this_thread.depth -= 1


_FLAG = "_AUTOLOGGING_GLOBALLY_DISABLED"
