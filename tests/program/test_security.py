"""Configs that come from elsewhere are data, and names stay names: what tries more is refused."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import run_forked
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from program import QUICK_SPACE, REPOSITORY, SMALL, calls, environment

from fmnist_sweep.cli import app
from fmnist_sweep.tracking.mlflow.store import ensure_local_store

SECRET = "correct-horse-battery"
SPACE = "space: {train: {batch_size: {choice: [32, 64]}}}\n"


# --- files of experiments/ --------------------------------------------------------------------


def grown(first: str, more: str, levels: int = 9) -> str:
    """Lines of which each names the one before ten times: a billion of the first."""
    return first + "".join(more.format(n=n, before=n - 1) for n in range(1, levels + 1))


REFERENCES = [
    "${oc.env:SECRET}", "${oc.env:SECRET,none}", "${oc.decode:'${oc.env:SECRET}'}",
    "${oc.create:{a: 1}}", "${oc.select:train}", "${oc.dict.values:train}", "${oc.deprecated:a}",
    "${hydra:runtime.cwd}", "${now:%Y}", "${nosuch:1}", "${fmnist_sweep.multirun_dir:}",
    "${oc.${train.loss}:SECRET}", "${.note}", "x ${train.seed} ${oc.env:SECRET}",
]  # fmt: skip
PLACES = [
    "tracking: {{note: {0}}}",
    "tracking: {{tags: {{a: {0}}}}}",
    "tracking: {{tags: {{{0}: a}}}}",
    "data: {{dir: {0}}}",
    "sweep: {{name: {0}}}",
    "sweep: {{start_with: [{{train.batch_size: {0}}}]}}",
    "space: {{train: {{batch_size: {{choice: [32, {0}]}}}}}}",
    "space: {{train: {{{0}: {{choice: [32]}}}}}}",
    "variants: {{a: {{train.loss: {0}}}}}",
    "variants: {{{0}: {{}}}}",
    "{0}: 1",
    "defaults: [{0}]",
    "defaults: [{{override /model: {0}}}]",
]
RUN = "_target_: os.system, command: touch marker"
OTHERS = {
    **{
        f"target in {place}": place.replace("X", f"{{{RUN}}}")
        for place in (
            "X", "train: X", "train: {optimizer: X}", "model: {conv_blocks: [X]}",
            "space: {train: {batch_size: X}}", "variants: {a: X}", "sweep: {start_with: [X]}",
            "tracking: {tags: X}", "hydra: {callbacks: {a: X}}", "hydra.callbacks.a: X",
            "hydra: {sweeper: X}", "hydra: {launcher: X}",
        )
    },
    **{
        f"tag {tag}": f"train: !!python/{tag}"
        for tag in (
            "object/apply:os.system ['touch marker']", "object/new:os.system ['touch marker']",
            "object:os.system {}", "name:os.system ''", "module:os ''",
            "object/apply:subprocess.check_output [[touch, marker]]",
        )
    },
    "a path": "tracking: {note: !!python/object/apply:pathlib.PosixPath [/etc/passwd]}",
    "a path, searched":
        "space: {train: {loss: {choice: [!!python/object/apply:pathlib.PosixPath [/etc]]}}}",
    "bytes": "tracking: {note: !!binary aGVsbG8=}",
    "search path": "hydra: {searchpath: [file:///tmp]}",
    "package": f"# @package hydra.callbacks.a\n{RUN.replace(', ', chr(10))}",
    "two documents": f"{SPACE}---\nhydra: {{searchpath: [file:///tmp]}}",
    "defaults: a path": "defaults: [/etc/passwd]",
    "defaults: another file": "defaults: [../best/other]",
    "defaults: of the same group": "defaults: [other]",
    "defaults: a path for a group": "defaults: [{override /model: /etc/passwd}]",
    "defaults: up and out": "defaults: [{override /model: ../../../etc/passwd}]",
    "defaults: a launcher": "defaults: [{override /hydra/launcher: joblib}]",
    "defaults: optional": "defaults: [{optional /hydra/launcher: joblib}]",
    "defaults: into hydra": "defaults: [{override /model@hydra: small_cnn}]",
    "where results go": "tracking: {uri: 'http://127.0.0.1:9'}",
    "where results go, as a path": "tracking.uri: sqlite:////tmp/elsewhere.db",
    "where results go, by reference":
        "tracking: '${sweep.start_with.0}'\nsweep: {start_with: [{uri: 'http://127.0.0.1:9'}]}",
    "laughs": grown("a0: &a0 [x]\n", "a{n}: &a{n} [" + "*a{before}, " * 10 + "]\n"),
    "laughs, merged":
        grown("a0: &a0 {k: 1}\n", "a{n}: &a{n} {{<<: [" + "*a{before}, " * 10 + "]}}\n"),
    "laughs by reference":
        grown("tracking:\n  tags:\n    a0: x\n",
              "    a{n}: '" + "${{tracking.tags.a{before}}}" * 10 + "'\n"),
    "laughs by references to lists":
        grown("space:\n  a0: [x]\n",
              "  a{n}: [" + "'${{space.a{before}}}', " * 10 + "]\n"),
    "long and often": "tracking:\n  note: '" + "x" * 9000 + "'\n  tags: {a: '"
        + "${tracking.note}" * 200 + "'}\n",
    "in itself": "tracking: {tags: &a {b: *a}}",
    "a reference to itself": "tracking: {note: '${tracking.note}'}",
    "a reference around itself": "tracking: {tags: {a: '${tracking.tags}'}}",
    "deep": f"space: {'[' * 3000}{']' * 3000}",
    "deep in keys": f"space: {'{a: ' * 400}1{'}' * 400}",
    "a long number": f"train: {{seed: {'9' * 200_000}}}",
    "a long hexadecimal number": f"train: {{seed: 0x{'f' * 200_000}}}",
    "a long number to the base of 60": f"train: {{seed: {'1:' * 60_000}1}}",
    "a long file": f"tracking: {{note: '{'x' * 300_000}'}}",
}  # fmt: skip
ATTACKS = {
    **{
        f"{reference} in {place}": place.format(json.dumps(reference))
        for reference in REFERENCES
        for place in PLACES
    },
    **OTHERS,
}
READ_ALL = """
import contextlib, io, json, os, sys
from pathlib import Path
from fmnist_sweep.cli.app import main
told = {}
for named, (text, arguments) in json.load(sys.stdin).items():
    path = Path("experiments", arguments[-1].removeprefix("+").replace("=", "/") + ".yaml")
    path.write_text(text)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main(arguments)
    path.unlink()
    left = sorted(str(p) for p in Path().rglob("*") if p.is_file())
    told[named] = [code, said.getvalue(), left]
print(json.dumps(told))
"""


@pytest.mark.parametrize("group", ["sweep", "best", "baseline"])
def test_a_file_that_is_more_than_data_is_refused_and_does_nothing(
    group: str, tmp_path: Path
) -> None:
    for other in ("sweep", "best", "baseline"):
        (tmp_path / "experiments" / other).mkdir(parents=True)
        (tmp_path / "experiments" / other / "other.yaml").write_text("train: {epochs: 1}\n")
    # The places differ by the file's key, not by its group: a third of them in each is enough.
    number = ["sweep", "best", "baseline"].index(group)
    chosen = {
        named: text
        for place, (named, text) in enumerate(ATTACKS.items())
        if named in OTHERS or place % 3 == number
    }
    cases = {named: (text, [*SMALL, f"+{group}=mine"]) for named, text in chosen.items()}
    shown = ["--cfg", "job", "--resolve", f"+{group}=mine"]
    cases |= {f"{named}, shown": (OTHERS[named], shown) for named in OTHERS if "laughs" in named}
    secret = {**environment(), "SECRET": SECRET}
    done = run_forked(READ_ALL, tmp_path, (), secret, json.dumps(cases))
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.keys() == cases.keys()
    others = [f"experiments/{other}/other.yaml" for other in ("baseline", "best", "sweep")]
    for named, (code, said, left) in told.items():
        assert (code, said.count("\n"), left) == (2, 1, others), (named, said[:300])
        assert said.startswith("error: "), named
        assert len(said) < 1000, named


# --- names ------------------------------------------------------------------------------------

ODD = st.one_of(
    st.sampled_from(["..", ".", "../x", "../../x", "/etc/passwd", "~", "x/../../y", "-rf", "--", "",
                     "x\n", "x\0y", "..\\x", "%2e%2e", "x/", "CON:", "$HOME", "`id`", "x;y"]),
    st.builds("{}{}{}".format, st.text("ab.-", max_size=4), st.sampled_from("/\\\0\n ~*\u2024é"),
              st.text("ab./-", max_size=4)),
)  # fmt: skip
NAMED: dict[str, Callable[[str], list[str]]] = {
    "sweep.name": lambda name: [*QUICK_SPACE, "sweep.max_trials=1", f"sweep.name={quoted(name)}"],
    "+sweep": lambda name: [f"+sweep={quoted(name)}"],
    "+best": lambda name: [f"+best={quoted(name)}"],
    "+baseline": lambda name: [f"+baseline={quoted(name)}"],
    "model": lambda name: [f"model={quoted(name)}"],
    "clean": lambda name: ["clean", name, "yes"],
    "export": lambda name: ["export", "mine", name],
    "baselines": lambda name: ["baselines", name],
}


def quoted(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, deep enough that a name may lead up, and be seen."""
    folder = tmp_path_factory.mktemp("outside") / "a" / "b"
    folder.mkdir(parents=True)
    ensure_local_store(folder)
    return folder


def everything(place: Path) -> list[tuple[str, int]]:
    # SQLite's own files beside the store come and go as it is read.
    below = [path for path in place.parents[1].rglob("*") if "mlflow.db-" not in path.name]
    return sorted((str(path), path.stat().st_mtime_ns if path.is_file() else 0) for path in below)


@pytest.mark.parametrize("where", NAMED)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=ODD)
def test_an_odd_name_is_refused_and_nothing_appears(
    where: str, name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assume((where, name) != ("baselines", "--"))  # no name: the end of the options
    monkeypatch.chdir(place)
    before = everything(place)
    assert app.main([*NAMED[where](name)]) == 2, name
    assert everything(place) == before


def test_a_link_in_place_of_a_sweep_is_refused(root: Path) -> None:
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("as it was")
    (root / "mlruns" / "sweeps").mkdir()
    (root / "mlruns" / "sweeps" / "mine").symlink_to(elsewhere)
    sweep = [*SMALL, *QUICK_SPACE, "sweep.max_trials=1", "sweep.name=mine"]
    for refused in calls(root, sweep, ["clean", "mine", "yes"], ["stop", "mine-0"]):
        assert refused.exit_code == 2, refused
        assert "mine: is a link" in refused.err
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]


# --- the source -------------------------------------------------------------------------------

RUNS_CODE = {"eval", "exec", "compile", "__import__", "system", "popen", "import_module"}
UNPICKLES = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "jsonpickle",
}
SERVES = {"http.server", "socketserver", "flask", "uvicorn", "gunicorn", "wsgiref"}
FLAGS = {("allow_pickle", True), ("safe_mode", False), ("shell", True)}
UNSAFE_YAML = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}


def found_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in RUNS_CODE:
                yield name
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in RUNS_CODE:
                yield f"os.{name}"
            case ast.Attribute(value=ast.Name(id="yaml"), attr=name) if name in UNSAFE_YAML:
                yield f"yaml.{name}"
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv" | "putenv"):
                yield "os.environ"
            case ast.Import(names=names):
                yield from (alias.name for alias in names if banned(alias.name))
            case ast.ImportFrom(module=str(module), names=names):
                inside = [f"{module}.{alias.name}" for alias in names]
                yield from (each for each in (module, *inside) if banned(each))
            case ast.keyword(arg=str(name), value=ast.Constant(value=value)):
                if (name, value) in FLAGS:
                    yield f"{name}={value}"


def banned(module: str) -> bool:
    if module in ("os.environ", "os.system", "os.popen"):
        return True
    return module in SERVES or module.partition(".")[0] in UNPICKLES | SERVES


def test_no_module_but_these_runs_text_unpickles_serves_or_reads_the_environment() -> None:
    found = {
        (path.name, each)
        for path in (REPOSITORY / "fmnist_sweep").rglob("*.py")
        for each in found_in(ast.parse(path.read_text()))
    }
    # Secrets are masked by the values that the environment has for them.
    # The package's public names are imported when they are first used, from a table of its own.
    # What is given from Python is pickled to see whether it can travel to a worker process; what a
    # worker unpickles comes from its owner, over a socket in a folder of the user's own, by a key,
    # or over Ray, whose ports must be closed to others anyway (docs/cluster.md).
    # Hydra's own reader of overrides is compiled again where `python -O` left something out of it.
    assert found == {
        ("runtime.py", "os.environ"), ("masking.py", "os.environ"),
        ("__init__.py", "import_module"),
        ("opening.py", "cloudpickle"), ("saved_code.py", "cloudpickle"),
        ("ray_worker.py", "pickle"),
        ("override_grammar.py", "compile"), ("override_grammar.py", "exec"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["eval('1')", "import pickle", "from dill import loads", "np.load(f, allow_pickle=True)",
     "yaml.load(f)", "os.system('id')", "run('id', shell=True)", "from os import environ",
     "__import__('os')", "load_model(p, safe_mode=False)", "os.getenv('HOME')",
     "from http import server", "from http.server import HTTPServer", "exec(text)"],
)  # fmt: skip
def test_the_check_of_the_source_sees_what_it_is_for(line: str) -> None:
    assert list(found_in(ast.parse(line)))
