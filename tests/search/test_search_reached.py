"""What a builder reaches: the same digests wherever the same code is, others after an edit."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.executors.worker_messages import Job
from fmnist_sweep.executors.worker_setup import check_builder
from fmnist_sweep.journal.reached import reached_by

REPOSITORY = Path(__file__).parents[2]
MINE = '''
"""A user's module."""
import functools
import logging
import threading
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import helpers
import numpy as np
import pack.inner
from helpers import scaled as by_another_name

WIDTH = 4
KINDS = {"relu", "gelu", "selu", "elu"}
TABLE = np.arange(5.0)
HERE = Path(__file__).parent
WEIGHTS = HERE / "weights.h5"
LOG = logging.getLogger("mine")
LOCK = threading.Lock()
UNUSED = 1


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Sizes:
    first: int = 8
    rest: list = field(default_factory=lambda: [16, 32])

    def doubled(self):
        """Return them."""
        return 2 * self.first


def logged(function):
    @functools.wraps(function)
    def inside(*arguments):
        LOG.info("called %s", LOCK)
        return function(*arguments)

    return inside


def chosen(kind):
    """Say what is chosen."""
    if kind in {"a", "b", "c"}:
        return mutual(kind), KINDS
    return WEIGHTS


def mutual(kind):
    return chosen(None) if kind else HERE


@logged
def build(config, shape, classes):
    """Return a network."""
    from late import added_late

    def nested(x):
        """Return it."""
        return x + 0.5

    return (nested(WIDTH), chosen, helpers.depth(), by_another_name, pack.inner.sized, TABLE,
            added_late, [x * 3 for x in range(3)], Colour.BLUE, __file__, LOCK)


class Builder:
    kernel = 3

    def __init__(self, sizes):
        self.sizes = sizes
        self.lock = threading.RLock()

    def __call__(self, config, shape, classes):
        return super().__str__(), self.kernel, self.helper()

    @staticmethod
    def helper():
        return WIDTH


def made(rate):
    return lambda config, shape, classes, slope=0.1: (rate, slope, made)


partial = functools.partial(build, shape=(8, 8))
item = Builder(Sizes())
bound = item.__call__
anonymous = made(0.2)
remembered = functools.cache(made(0.2))
'''
FILES = {
    "mine.py": MINE,
    "helpers.py": "from pack import inner\nDEPTH = 2\n\n\n"
    "def depth():\n    return DEPTH, inner.SIZE\n\n\ndef scaled(x):\n    return x / 255\n\n\n"
    "def unused():\n    return 1\n",
    "late.py": "def added_late():\n    return 7\n",
    "pack/__init__.py": "",
    "pack/inner.py": "SIZE = 3\n\n\ndef sized():\n    return SIZE\n",
}
BUILDERS = ["build", "partial", "item", "bound", "anonymous", "remembered"]
_READER = """
import importlib, json, os, sys
from fmnist_sweep.journal.reached import reached_by

for folder in json.load(sys.stdin):
    os.chdir(folder)
    sys.path[0] = folder
    before = set(sys.modules)
    mine = importlib.import_module("mine")
    print(json.dumps({name: reached_by(getattr(mine, name)) for name in %r}))
    for name in {"mine", "helpers", "late", "pack", "pack.inner"} & set(sys.modules):
        del sys.modules[name]
    importlib.invalidate_caches()
"""


def written(folder: Path, edits: dict[str, tuple[str, str]] | None = None) -> Path:
    for name, text in FILES.items():
        old, new = (edits or {}).get(name, ("", ""))
        assert old in text
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace(old, new) if old else text)
    return folder


def read(folders: list[Path], **environment: str) -> list[dict[str, dict[str, str]]]:
    """What the builders of copies reach, as another process finds it."""
    done = subprocess.run(
        [sys.executable, "-c", _READER % BUILDERS], input=json.dumps(list(map(str, folders))),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


BOTH, OBJECTS = {"build", "partial"}, {"item", "bound"}
# What is edited: (file, before, after), then the builders that are others by it, by which parts.
EDITS: list[tuple[tuple[str, str, str], set[str], set[str]]] = [
    (("mine.py", "WIDTH = 4", "WIDTH = 5"), BOTH | OBJECTS, {"mine.WIDTH"}),
    (("mine.py", '"selu", ', ""), BOTH, {"mine.KINDS"}),
    (("mine.py", "arange(5.0)", "arange(6.0)"), BOTH, {"mine.TABLE"}),
    (("mine.py", "if kind else HERE", "if kind else None"), BOTH, {"mine.mutual", "mine.HERE"}),
    (("mine.py", "BLUE = 2", "BLUE = 3"), BOTH, {"mine.Colour"}),
    (("mine.py", '"called %s"', '"has %s"'), BOTH, {"mine.build"}),  # a decorator's wrapper
    (("mine.py", "x + 0.5", "x + 0.25"), BOTH, {"mine.build"}),
    (("mine.py", "x * 3", "x * 4"), BOTH, {"mine.build"}),
    (("helpers.py", "DEPTH = 2", "DEPTH = 3"), BOTH, {"helpers.DEPTH"}),
    (("helpers.py", "x / 255", "x / 256"), BOTH, {"helpers.scaled"}),
    (("pack/inner.py", "SIZE = 3", "SIZE = 5"), BOTH, {"pack.inner.SIZE"}),
    (("late.py", "7", "8"), BOTH, {"late.added_late"}),
    (("mine.py", "(8, 8)", "(8, 9)"), {"partial"}, {"build_model"}),
    (("mine.py", "[16, 32]", "[16, 64]"), OBJECTS, {"build_model", "mine.Sizes"}),
    (("mine.py", "2 * self.first", "3 * self.first"), OBJECTS, {"mine.Sizes"}),
    (("mine.py", "kernel = 3", "kernel = 5"), OBJECTS, {"mine.Builder"}),
    (("mine.py", "    return WIDTH", "    return -WIDTH"), OBJECTS, {"mine.Builder"}),
    (("mine.py", "made(0.2)", "made(0.3)"), {"anonymous", "remembered"}, {"build_model"}),
    (("mine.py", "slope=0.1", "slope=0.2"), {"anonymous", "remembered"},
     {"build_model", "mine.made"}),
    # What changes nothing:
    (("mine.py", "UNUSED = 1", "UNUSED = 2"), set(), set()),
    (("helpers.py", "return 1", "return 2"), set(), set()),
    (("mine.py", "import functools", "# A comment.\n\nimport functools"), set(), set()),
    (("mine.py", "Return a network.", "Return the network."), set(), set()),
    (("mine.py", "Return it.", "Return that."), set(), set()),
    (("mine.py", "    return (nested", "    # A comment.\n    return (nested"), set(), set()),
]  # fmt: skip


@pytest.fixture(scope="module")
def unedited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    (found,) = read([written(tmp_path_factory.mktemp("one"))], PYTHONHASHSEED="0")
    return found


def test_a_copy_in_another_process_reaches_the_same(
    unedited: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    assert read([written(tmp_path)], PYTHONHASHSEED="7") == [unedited]
    assert set(unedited["bound"]) == {
        "build_model", "mine.Builder", "mine.Builder.__call__", "mine.Sizes", "mine.WIDTH",
    }  # fmt: skip


@pytest.mark.slow
def test_an_edit_is_seen_where_it_is_used_and_nowhere_else(
    unedited: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    folders = [
        written(tmp_path / str(number), {file: (before, after)})
        for number, ((file, before, after), _, _) in enumerate(EDITS)
    ]
    for (edit, builders, parts), found in zip(EDITS, read(folders), strict=True):
        for name in BUILDERS:
            both = (found[name].items(), unedited[name].items())
            changed = {part for part, _ in both[0] ^ both[1]}
            assert changed == (parts if name in builders else set()), (edit, name)


WIDTH = 4
_SEEN: list[int] = []


def here(config: Any, shape: Any, classes: int) -> int:
    return WIDTH + len(shape)


def recursive(depth: Any) -> Any:
    return _SEEN and recursive(depth - 1)


def test_code_that_python_has_made_faster_is_the_same() -> None:
    before = reached_by(here)
    for _ in range(1000):
        here(None, (1, 2), 3)
    assert reached_by(here) == before


def test_what_is_set_from_outside_counts_by_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    before = reached_by(here)
    monkeypatch.setitem(globals(), "WIDTH", 5)
    assert {part for part, _ in before.items() ^ reached_by(here).items()} == {f"{__name__}.WIDTH"}


def test_a_worker_process_that_would_build_another_network_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job(Path(), 10, 1, here, None, reaches=reached_by(here))
    check_builder(job)
    monkeypatch.setitem(globals(), "WIDTH", 5)
    with pytest.raises(ConfigError, match=rf"from disk: {__name__}\.WIDTH; restart"):
        check_builder(job)


def test_what_refers_to_itself_and_what_has_no_content_is_no_trouble() -> None:
    loop: list[Any] = []
    loop.append(loop)
    held = [loop, threading.Lock(), sys.stdout, (n for n in "ab"), lambda: held, type("T", (), {})]
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    first = reached_by(functools.partial(here, held, deep, recursive))
    assert reached_by(functools.partial(here, held, deep, recursive)) == first
    assert f"{__name__}._SEEN" in first


def test_code_that_was_typed_is_known_too() -> None:
    def typed(number: int) -> Callable[..., Any]:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(f"\n\nN = {number}\nbuild = lambda *given: N", space)
        made: Callable[..., Any] = space["build"]
        return made

    assert reached_by(typed(1)) == reached_by(typed(1)) != reached_by(typed(2))


def test_libraries_count_by_name_and_version() -> None:
    def build(path: Any) -> Any:
        return keras.layers.Dense(3), np.zeros(3), pytest.approx(2), json.dumps("")

    reached = reached_by(build)
    assert set(reached) == {"build_model", "pytest"}
    assert reached["pytest"] == pytest.__version__


def test_a_network_counts_by_its_layers_and_weights() -> None:
    def backbone(units: int, weight: float) -> keras.Model:
        inputs = keras.Input((3,))
        outputs = keras.layers.Dense(units)(keras.layers.Dense(2)(inputs))
        model = keras.Model(inputs, outputs)
        model.set_weights([np.full_like(array, weight) for array in model.get_weights()])
        return model

    def of(model: keras.Model) -> dict[str, str]:
        return reached_by(functools.partial(here, model))

    first = of(backbone(2, 1.0))
    assert of(backbone(2, 1.0)) == first  # its layers have other names by now
    assert of(backbone(2, 1.5)) != first
    assert of(backbone(4, 1.0)) != first


def test_a_name_is_no_value_of_a_layer() -> None:
    def of(activation: str) -> dict[str, str]:
        layer = keras.layers.Dense(2, activation=activation, name=activation)
        return reached_by(functools.partial(here, layer))

    assert of("relu") != of("tanh")


def test_what_keras_draws_or_learns_by_itself_changes_nothing() -> None:
    def of(value: Any) -> dict[str, str]:
        return reached_by(functools.partial(here, value))

    assert of(keras.initializers.HeNormal()) == of(keras.initializers.HeNormal())
    assert of(keras.initializers.HeNormal(seed=1)) != of(keras.initializers.HeNormal(seed=2))
    drawn = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)])
    before = of(drawn)
    drawn(np.zeros((1, 4, 4, 1), np.float32))
    assert of(drawn) == before


def test_a_wrapper_counts_by_what_it_adds() -> None:
    def of(width: int) -> dict[str, str]:
        return reached_by(functools.update_wrapper(functools.partial(here, width=width), here))

    assert of(8) == of(8) != of(16)

    def chosen(depth: int) -> dict[str, str]:
        @functools.singledispatch
        def build(value: object) -> int:
            return 0

        @build.register
        def of_int(value: int) -> int:
            return depth

        found = reached_by(build)
        build(1)
        assert reached_by(build) == found  # what it remembers of calls is no code
        return found

    assert chosen(2) == chosen(2) != chosen(3)


def test_a_module_that_is_handed_on_counts_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ModuleType("settings_of_mine")
    settings.__dict__["DEPTH"] = 2
    monkeypatch.setitem(sys.modules, "settings_of_mine", settings)
    before = reached_by(functools.partial(here, settings))
    settings.__dict__["DEPTH"] = 3
    assert reached_by(functools.partial(here, settings)) != before
