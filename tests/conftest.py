"""What holds for all tests."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every
# program that they start; the tests of interrupts want it as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same of SIGQUIT, and of SIGHUP under nohup. A program that is started has the default of what
# is handled here; the tests themselves go on.
for number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# No test asserts a time, and a deadline would be one. The examples are the same in every run, on
# every machine; a database of those that failed before would add to them. `make test-drawn` draws
# new ones: --hypothesis-profile=drawn.
settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.register_profile("drawn", deadline=None, print_blob=True)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Have examples not depend on the order of the tests: Hypothesis also draws the constants of
    all modules of the project that are loaded by then."""
    if config.getoption("--hypothesis-profile") != "drawn":
        assert callable(providers._get_local_constants)  # private; pinned by requirements.lock
        providers._get_local_constants = lambda: providers._local_constants


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark the release tests."""
    for item in items:
        if "release" in item.path.parts:
            item.add_marker(pytest.mark.release)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter of bytes by its argument: a file may be long, and hold the time."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an MLflow store with nothing in it; to make one takes seconds."""
    from fmnist_sweep.tracking.mlflow.store import ensure_local_store  # few tests want MLflow

    root = tmp_path_factory.mktemp("blank")
    ensure_local_store(root)
    return root / "mlruns" / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, blank_store: Path) -> Path:
    """A folder with a store of its own."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(blank_store, tmp_path / "mlruns")
    return tmp_path
