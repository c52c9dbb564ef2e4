"""Frees TensorFlow's graphs after a training, so that memory use stays constant in long sweeps."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.python.framework import ops


@contextmanager
def graphs_freed() -> Iterator[None]:
    """Free the graphs traced inside the block at its end; also a decorator.

    For each custom gradient that is traced (in an optimizer's step and some activations) TensorFlow
    2.21 registers a function that refers to the whole graph, for the lifetime of the process: 14 MB
    per training of a small CNN. `keras.utils.clear_session` does not free it, and would reset the
    caller's Keras settings. Fixed after 2.21:
    https://github.com/tensorflow/tensorflow/issues/97697
    """
    global _left_behind
    if _left_behind:
        gc.collect()
        _left_behind = False
    registered = ops.gradient_registry._registry  # its public methods cannot remove entries
    with _only_what_is_new(), _registered_here() as names:
        try:
            yield
        except BaseException:
            _left_behind = True  # the traceback refers to the model until the block ends
            raise
        finally:
            for name in names:
                if name.startswith("CustomGradient-"):
                    registered.pop(name, None)
            gc.collect()  # models and graphs have reference cycles


_left_behind = False


@contextmanager
def _registered_here() -> Iterator[list[str]]:
    """Yield the names that this thread registers inside the block. Those of other threads, where
    the user may be training another network, are still needed."""
    register, thread, names = ops.RegisterGradient, threading.get_ident(), list[str]()

    def noted(name: str) -> object:
        if threading.get_ident() == thread:
            names.append(name)
        return register(name)

    ops.RegisterGradient = noted
    try:
        yield names
    finally:
        ops.RegisterGradient = register


@contextmanager
def _only_what_is_new() -> Iterator[None]:
    """Make Python's garbage collector scan only objects created inside the block: scanning all
    objects of the libraries takes a third of a second."""
    if gc.get_freeze_count() > 0:  # frozen by the caller; not changed
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
