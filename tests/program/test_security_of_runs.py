"""Files that hold arrays and models, the server, the secrets: each tried with the real thing."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from program import QUICK_SPACE, REPOSITORY, SMALL, Called, Store, artifact, calls
from tiny_training import config_of, data_of, train_to

from fmnist_sweep.cli import app
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.inline import InlineExecutor
from fmnist_sweep.executors.protocol import OnEpoch, Rung
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.sweep.results import load_sweep
from fmnist_sweep.tracking.mlflow.store import ensure_local_store, local_store_uri
from fmnist_sweep.training.checkpoint import CheckpointFolder
from fmnist_sweep.training.results import RunResult
from fmnist_sweep.training.rung import evaluate_saved


class Payload:
    """What runs when it is read as a pickle."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.marker,)


# --- data, checkpoints, models ----------------------------------------------------------------


def test_an_array_of_objects_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    images = np.zeros((4, 4, 4), np.uint8)
    np.savez("own.npz", x_train=images, y_train=np.array([Payload(marker)] * 4, object))
    assert app.main(["data=npz", "data.file=own.npz", "model=small_cnn", "train.epochs=1"]) == 2
    assert "own.npz is not a readable .npz file of plain arrays" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize("name", ["about", "weights/0", "optimizer/0", "best_weights/0"])
def test_a_checkpoint_is_not_unpickled(name: str, tmp_path: Path) -> None:
    marker, folder = tmp_path / "marker", CheckpointFolder(tmp_path)
    train_to(config_of(), 1).checkpoint.save(tmp_path / CheckpointFolder.FILES[0])
    assert folder.latest(1) is not None
    with np.load(tmp_path / CheckpointFolder.FILES[0]) as arrays:
        content = dict(arrays)
    content[name] = np.array([Payload(marker)], object)
    for file in CheckpointFolder.FILES:
        np.savez(tmp_path / file, **content)
    assert folder.latest(1) is None
    assert not marker.exists()


def a_lambda(path: Path, marker: Path) -> None:
    place = str(marker)
    code = keras.layers.Lambda(lambda x: (__import__("pathlib").Path(place).touch(), x)[1])
    keras.Sequential([keras.Input((8, 8, 1)), code]).save(path)
    marker.unlink(missing_ok=True)


def a_named_function(path: Path, marker: Path) -> None:
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Activation("relu")]).save(path)
    function = {
        "class_name": "function", "config": "system", "module": "os", "registered_name": "system",
    }  # fmt: skip
    edit_model(path, lambda layer: layer["config"].update(activation=function))


def a_named_class(path: Path, marker: Path) -> None:
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Activation("relu")]).save(path)
    popen = {
        "module": "subprocess", "class_name": "Popen", "registered_name": "Popen",
        "config": {"args": ["touch", str(marker)]},
    }  # fmt: skip
    edit_model(path, lambda layer: layer.update(popen))


def edit_model(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(files["config.json"])
    change(about["config"]["layers"][-1])
    files["config.json"] = json.dumps(about).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("make", [a_lambda, a_named_function, a_named_class])
def test_a_model_file_runs_no_code(make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "best.keras"
    make(path, marker)
    with pytest.raises(RunError, match=r"best\.keras cannot be loaded: "):
        evaluate_saved(path, data_of(config_of()).test, "0" * 64)
    assert not marker.exists()


def test_a_sweep_s_best_model_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ["sweep.name=mine", "sweep.max_trials=1", "train.epochs=1"]
    (done,) = calls(tmp_path, [*SMALL, *QUICK_SPACE, *sweep])
    assert done.exit_code == 0, done
    (path,) = (tmp_path / "mlruns" / "artifacts").rglob("best.keras")
    assert load_sweep("mine").best_model() is not None
    a_lambda(path, tmp_path / "marker")
    with pytest.raises(RunError, match=r"best\.keras cannot be loaded: "):
        load_sweep("mine").best_model()
    assert not (tmp_path / "marker").exists()


# --- the server -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """`make ui` at work: its process group and its port."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-build.lock"):
        shutil.copy(REPOSITORY / name, folder)
    ensure_local_store(folder)
    client = MlflowClient(local_store_uri(folder))
    client.create_experiment("local", artifact_location=(folder / "mlruns/artifacts").as_uri())
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".installed-from-requirements.lock").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    unset = ("MAKE", "MFLAGS", "MLFLOW_", "VENV", "CUDA", "RAY", "PORT")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    with subprocess.Popen(
        ["make", "ui", f"PORT={port}"], cwd=folder, env=ours, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            until = time.monotonic() + 120
            while answer(port, "GET", "/health") is None:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.3)
            yield process.pid, port
        finally:
            with suppress(ProcessLookupError):  # a test has ended it
                os.killpg(process.pid, signal.SIGKILL)


def answer(port: int, method: str, path: str, **headers: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"name": "planted"}) if method == "POST" else None
    try:
        given = {"Content-Type": "application/json", **headers}
        connection.request(method, path, body=body, headers=given)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def listening(group: int) -> set[tuple[str, int]]:
    """Where the processes of a group listen, addresses as the kernel writes them."""
    sockets = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                sockets |= {str(link.readlink()) for link in (folder / "fd").iterdir()}
        except OSError:  # ended meanwhile
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()[:4]
            if state == "0A" and f"socket:[{line.split()[9]}]" in sockets:
                address, _, port = local.partition(":")
                found.add((address, int(port, 16)))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_the_server_listens_on_this_machine_only(server: tuple[int, int]) -> None:
    group, port = server
    assert ("0100007F", port) in listening(group)
    assert {address for address, _ in listening(group)} == {"0100007F"}


def test_the_server_has_the_local_store_and_refuses_other_hosts_and_origins(
    server: tuple[int, int],
) -> None:
    _, port = server
    read, write = "/api/2.0/mlflow/experiments/get?experiment_id=0", "/api/2.0/mlflow/experiments"
    assert answer(port, "GET", read) == 200
    assert answer(port, "GET", f"{write}/get-by-name?experiment_name=local") == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example"):
        assert answer(port, "GET", read, Host=host) == 403
        assert answer(port, "POST", f"{write}/create", Host=host) == 403
    for origin in ("http://evil.example", "https://127.0.0.1.evil.example", "null"):
        assert answer(port, "POST", f"{write}/create", Origin=origin) == 403
    found = answer(port, "GET", f"{write}/get-by-name?experiment_name=planted")
    assert found == 404
    assert answer(port, "POST", f"{write}/create", Origin=f"http://127.0.0.1:{port}") == 200


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_the_server_ends_with_its_terminal(server: tuple[int, int]) -> None:
    """Which sends SIGHUP to all that runs in it. The last of the server's tests."""
    group, _ = server
    os.killpg(group, signal.SIGHUP)
    until = time.monotonic() + 60
    while listening(group):
        assert time.monotonic() < until, "the server goes on"
        time.sleep(0.2)


# --- secrets ----------------------------------------------------------------------------------

LINES = "first-line-of-a-key\nsecond-line-of-a-key"
VARIABLES = {
    "AWS_SECRET_ACCESS_KEY": "aws/Secret+0123456789",
    "MLFLOW_TRACKING_PASSWORD": "tracking-passw0rd",
    "MY_API_TOKEN": "my-token-4711",
    "HF_TOKEN": "hf_abcdefghij",
    "GITHUB_PAT_KEY": "github-pat-key-1",
    "PGPASSWORD": "postgres-pass",
    "DATABASE_URL": "postgres://user:database-pw@host/db",
    "REDIS": "redis://:p%40ssword-9@host",
    "SIGNING_PRIVATE": LINES,
}
VALUES = [
    *(value for name, value in VARIABLES.items() if name not in ("DATABASE_URL", "REDIS")),
    "database-pw", "p%40ssword-9", "p@ssword-9", *LINES.splitlines(),
]  # fmt: skip


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def test_each_secret_becomes_stars_wherever_it_stands(secrets: None) -> None:
    for value in VALUES:
        assert without_secrets(f"+{value}\n-a") == "+***\n-a", value
        assert value not in without_secrets(f'{{"a": "x{value}y", "b": 1}}')
    assert without_secrets("http://me:short@host/a") == "http://me:***@host/a"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MY_TOKEN", "short"), ("MONKEY", "a-long-word"), ("AUTHOR", "a-long-word"),
     ("OLDPWD", "/home/someone"), ("SSH_AUTH_SOCK", "/run/some/agent"), ("COLOUR", "turquoise")],
)  # fmt: skip
def test_what_is_no_secret_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    text = f"--- {value} http://127.0.0.1:5000/a@b http://a:1\n@@ {value}"
    assert without_secrets(text) == text


def test_a_trial_s_failure_is_told_without_them(secrets: None, tmp_path: Path) -> None:
    def refused(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        raise ValueError(f"the server refused {VARIABLES['MY_API_TOKEN']}")

    rung = Rung(config_of(), 0, 1, tmp_path)
    outcome = InlineExecutor(refused).submit(rung, lambda record: None).result()
    assert outcome.reason == "ValueError: the server refused ***"


@pytest.fixture
def leaky(tmp_path: Path, secrets: None) -> tuple[Path, list[Called]]:
    """What trainings, a sweep and a mistake leave and print, with every secret in the changed
    files and in what is told to each of them."""
    folder = tmp_path / "outside" / "work"
    folder.mkdir(parents=True)
    (folder / "settings.txt").write_text("kept\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "settings.txt"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    (folder / "settings.txt").write_text("\n".join(["kept", "added", *VALUES, ""]))
    told = [
        f"+tracking.tags.t{number}='uses {value}'"
        for number, value in enumerate(VALUES)
        if "\n" not in value
    ]
    told += [f"tracking.note='with {VARIABLES['MY_API_TOKEN']} of {VARIABLES['DATABASE_URL']}'"]
    one = [*SMALL, *QUICK_SPACE[:3], "train.epochs=1", *told]
    sweep = ["sweep.name=mine", "sweep.max_trials=1", "tracking.experiment=../../out"]
    password = {"MLFLOW_TRACKING_PASSWORD": VARIABLES["MLFLOW_TRACKING_PASSWORD"]}
    done = calls(
        folder,
        one,
        [*SMALL, *QUICK_SPACE, "train.epochs=1", *told, *sweep],
        ["-m", *one, "train.seed=1,2"],
        [*one, f"train.seed={VARIABLES['HF_TOKEN']}"],
        before=f"import os; os.environ.update({password!r})\n",
    )
    return folder, done


def test_no_secret_reaches_what_is_kept_or_printed(leaky: tuple[Path, list[Called]]) -> None:
    folder, done = leaky
    assert [call.exit_code for call in done] == [0, 0, 0, 2], done
    store = Store(folder, "../../out")
    runs = [*Store(folder, "fmnist-train").runs, *store.runs]
    assert len(runs) == 5
    for run in runs:
        assert run.data.tags["t0"] == "uses ***"
        if run.data.tags["fmnist.role"] != "trial":
            note = run.data.tags["mlflow.note.content"]  # a sweep's goes on after that line
            assert note.splitlines()[0] == "with *** of postgres://user:***@host/db"
            diff = artifact(folder, run, "git.diff").read_text()
            assert "\n kept\n+added\n+***\n" in diff
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    kept = [path for path in files if path.name != "settings.txt" and ".git" not in path.parts]
    assert {path.relative_to(folder).parts[0] for path in kept} == {"mlruns", "experiments"}
    assert len(kept) > 10
    printed = "".join(call.out + call.err for call in done)
    for value in VALUES:
        assert value not in printed
        for path in kept:
            assert value.encode() not in path.read_bytes(), (value, path)
            assert json.dumps(value)[1:-1].encode() not in path.read_bytes(), (value, path)
