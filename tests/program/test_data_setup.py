"""Getting the data onto a machine: what is there already, what cannot be had, what is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_sweep.config.data_schema import FashionMnistData
from fmnist_sweep.data import fashion_mnist, load_dataset, setup


@pytest.fixture(scope="module")
def real_folder() -> Path:
    """Where this machine has the real data; `make test` has seen to it."""
    dataset = load_dataset(FashionMnistData(source="fashion_mnist", dir=None, limit=None))
    return Path(dataset.source)


def test_the_place_of_the_data_is_said_and_noted(
    real_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "found"
    assert setup.main(["--found-in", str(note)]) == 0
    assert note.read_text() == f"{real_folder}\n"
    assert "60,000 training images" in capsys.readouterr().out


def test_a_named_folder_without_the_data_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path / "empty"))
    pretend_tools(tmp_path / "bin", monkeypatch, apt_get="touch called")
    monkeypatch.chdir(tmp_path)
    assert setup.main(["--found-in", str(tmp_path / "found")]) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert str(tmp_path / "empty") in printed.err
    assert not (tmp_path / "found").exists()
    assert not (tmp_path / "called").exists()


def test_a_note_that_cannot_be_written_is_an_error_in_one_line(
    real_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    note = tmp_path / "file" / "found"
    assert setup.main(["--found-in", str(note)]) == 2
    assert capsys.readouterr().err.startswith(f"data: {note} cannot be written: ")


def test_the_debian_package_is_installed_where_nothing_has_the_data(
    real_folder: Path, tmp_path: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = f'echo "$@" >>calls; [ "$1" = update ] || ln -s {real_folder} {bare_machine}'
    pretend_tools(tmp_path / "bin", monkeypatch, apt_get=install)
    assert setup.main(["--found-in", str(tmp_path / "found")]) == 0
    assert (tmp_path / "found").read_text() == f"{bare_machine}\n"
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("update")
    assert second.startswith("install")
    assert second.endswith("dataset-fashion-mnist")


def test_where_the_package_cannot_be_had_either_the_four_ways_are_named(
    tmp_path: Path,
    bare_machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretend_tools(tmp_path / "bin", monkeypatch, apt_get="echo no such package; exit 100")
    assert setup.main([]) == 2
    printed = capsys.readouterr()
    assert "no such package" in printed.out
    assert len(printed.err.splitlines()) == 1
    for way in ("FMNIST_DATA_DIR", setup.DEBIAN_PACKAGE, "Keras cache", "download"):
        assert way in printed.err


def test_nothing_but_our_own_lines_is_printed_while_the_data_is_looked_for(
    tmp_path: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_tools(tmp_path / "bin", monkeypatch, apt_get="exit 100")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from fmnist_sweep.data import fashion_mnist, setup\n"
        f"fashion_mnist.SYSTEM_FOLDER = setup.SYSTEM_FOLDER = Path({str(bare_machine)!r})\n"
        "sys.exit(setup.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()  # a process of its own, where TensorFlow starts
    assert line.startswith("data: Fashion-MNIST was not found")


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No system folder, an empty Keras cache, and a network that ends at a closed port.

    Returns where the system folder would be.
    """
    folder = tmp_path / "system"
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", folder)
    monkeypatch.setattr(setup, "SYSTEM_FOLDER", folder)
    monkeypatch.delenv("FMNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    return folder


def pretend_tools(folder: Path, monkeypatch: pytest.MonkeyPatch, *, apt_get: str) -> None:
    """Put an `apt-get` and a `sudo` before the real ones: tests install nothing."""
    folder.mkdir()
    for name, body in (("apt-get", apt_get), ("sudo", 'shift; exec "$@"')):
        script = folder / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
