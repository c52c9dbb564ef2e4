"""TensorFlow's graphs: gone when a training is over, so that a long sweep stays the same size."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.python.framework import ops


@contextmanager
def graphs_freed() -> Iterator[None]:
    """Free the graphs traced inside the block at its end; also a decorator.

    For each custom gradient that it traces (an optimizer's step has one, so have some
    activations) TensorFlow 2.21 registers a function that refers to the whole graph, and keeps
    it until the process ends: 14 MB a training of a small CNN. `keras.utils.clear_session` does
    not reach it, and would undo the caller's own settings of Keras. Known, and mended after 2.21:
    https://github.com/tensorflow/tensorflow/issues/97697
    """
    global _left_behind
    if _left_behind:
        gc.collect()
        _left_behind = False
    registered = ops.gradient_registry._registry  # what it shows has no way to remove one
    with _only_what_is_new(), _registered_here() as names:
        try:
            yield
        except BaseException:
            _left_behind = True  # the traceback holds the model until this has left the block
            raise
        finally:
            for name in names:
                if name.startswith("CustomGradient-"):
                    registered.pop(name, None)
            gc.collect()  # models and graphs refer to themselves


_left_behind = False


@contextmanager
def _registered_here() -> Iterator[list[str]]:
    """Yield the names that this thread registers inside the block. Those of another one, where the
    user trains a network beside ours, are still needed."""
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
    """Have Python's collector look at nothing but what the block makes: to go through all that the
    libraries hold takes it a third of a second."""
    if gc.get_freeze_count() > 0:  # somebody's own, which must stay so
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
