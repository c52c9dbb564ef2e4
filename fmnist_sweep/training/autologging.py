"""MLflow's autologging, kept off what is trained here. MLflow itself is not imported."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _OffInThisThread(threading.local):
    """True in a thread that is inside `autologging_off`, as often as it has entered it."""

    depth = 0

    def __bool__(self) -> bool:
        return self.depth > 0


_off_in_this_thread = _OffInThisThread()


@contextmanager
def autologging_off() -> Iterator[None]:
    """Keep MLflow's autologging off what this thread does inside the block; also a decorator.

    A notebook may have called `mlflow.autolog()`, which replaces the `fit` of Keras and
    scikit-learn in the whole process: it adds callbacks, and makes runs in the user's own store or
    writes into the run that is open there. MLflow's flag that switches all of that off counts for
    every thread, and nested blocks end each other; here, other threads' fits are logged as before.
    """
    autologging = sys.modules.get("mlflow.utils.autologging_utils")  # else nothing is changed
    if getattr(autologging, _FLAG, True) is False:
        setattr(autologging, _FLAG, _off_in_this_thread)
    _off_in_this_thread.depth += 1
    try:
        yield
    finally:
        _off_in_this_thread.depth -= 1


_FLAG = "_AUTOLOGGING_GLOBALLY_DISABLED"
