"""Where a run was made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fmnist_sweep import provenance
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.provenance import environment_of_run, git_commit, git_diff
from fmnist_sweep.training.preparation import with_threads


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "kept.txt").write_text("one\n")
    git(tmp_path, "add", "kept.txt")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_diff_is_of_the_tracked_files_only(repository: Path) -> None:
    assert len(git_commit(repository) or "") == 40
    assert git_diff(repository) is None
    (repository / "new.txt").write_text("not tracked\n")
    assert git_diff(repository) is None
    (repository / "kept.txt").write_text("two\n")
    git(repository, "add", "kept.txt")  # staged counts as changed too
    diff = git_diff(repository)
    assert diff is not None
    assert "-one\n+two\n" in diff


def test_a_diff_runs_no_program_of_the_repositorys(repository: Path) -> None:
    (repository / ".gitattributes").write_text("*.txt diff=own\n")
    for name in ("command", "textconv"):
        git(repository, "config", f"diff.own.{name}", f"touch {repository}/ran; cat")
    (repository / "kept.txt").write_text("two\n")
    assert "+two\n" in (git_diff(repository) or "")
    assert not (repository / "ran").exists()


def test_a_long_diff_is_cut_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_MOST_OF_A_DIFF", 50)
    (repository / "kept.txt").write_text("two\n" * 100)
    diff = git_diff(repository) or ""
    assert len(diff) < 100
    assert diff.endswith("characters]\n")


def test_without_a_repository_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert (git_commit(tmp_path), git_diff(tmp_path)) == (None, None)


def test_the_environment_says_what_numbers_depend_on(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    config = with_threads(compose_config(["data=synthetic"]))
    here = environment_of_run(config, ("+sweep=mine", "a='b c'"))
    assert set(here.numerics.versions) == {
        "python", "tensorflow", "keras", "numpy", "arithmetic",
    }  # fmt: skip
    assert here.numerics.settings == {"TF_ENABLE_ONEDNN_OPTS": "1"}
    assert here.numerics.threads == config.train.threads
    assert here.numerics.cpu
    assert (here.git_commit, here.git_changed) == (git_commit(repository), False)
    assert here.command.startswith("python -m fmnist_sweep +sweep=mine ")
    assert "hunter2" not in here.model_dump_json()
