"""From a command line to configs: Hydra's features go on working and leave nothing behind."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fmnist_sweep.config.compose import compose, compose_config, run_main
from fmnist_sweep.config.composition import Composition
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError

Calls = list[tuple[Config, Composition]]


@pytest.fixture(autouse=True)
def everything_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the working directory and the one for temporary files."""
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def called(*argv: str) -> Calls:
    calls: Calls = []
    run_main(lambda config, composition: calls.append((config, composition)), argv)
    return calls


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "seeds"),
    [
        ([], [1]),
        (["train.seed=5"], [5]),
        (["-m", "train.seed=1,2,3"], [1, 2, 3]),
        (["--multirun", "train.seed=1,2", "model=small_cnn,fashion_mnist_cnn"], [1, 1, 2, 2]),
        (["hydra.mode=MULTIRUN", "train.seed=range(2,4)"], [2, 3]),
    ],
)
def test_each_job_is_called_once_and_nothing_is_left(
    argv: list[str], seeds: list[int], everything_written: Path
) -> None:
    during: list[list[str]] = []
    calls: Calls = []

    def task(config: Config, composition: Composition) -> None:
        calls.append((config, composition))
        during.append(files_in(everything_written))

    run_main(task, argv)
    assert [config.train.seed for config, _ in calls] == seeds
    assert during == [["here", "temporary"]] * len(seeds)
    assert files_in(everything_written) == ["here", "temporary"]


def test_command_line_and_python_give_the_same() -> None:
    overrides = ["train.seed=3", "model=small_cnn", "train.optimizer={name: sgd}"]
    overrides += ["+tracking.tags.a=b", "~train.batch_size", "+train.batch_size=2"]
    [(config, composition)] = called(*overrides)
    assert compose(overrides) == (config, composition)
    assert compose_config(overrides) == config
    assert composition.selected == {}
    assert composition.overrides == tuple(overrides)
    assert composition.overridden_keys == (
        "train.seed", "train.optimizer.name", "tracking.tags.a", "train.batch_size"
    )  # fmt: skip


@pytest.mark.slow
def test_jobs_of_a_multirun_know_their_overrides() -> None:
    calls = called("-m", "train.seed=1,2", "model=small_cnn")
    assert [composition.overrides for _, composition in calls] == [
        ("train.seed=1", "model=small_cnn"),
        ("train.seed=2", "model=small_cnn"),
    ]


@pytest.mark.slow
def test_every_job_is_validated_before_the_first_begins() -> None:
    calls: Calls = []
    with pytest.raises(ConfigError, match=r"^train\.batch_size=0: must be at least 1$"):
        run_main(lambda *call: calls.append(call), ["-m", "train.batch_size=64,0"])
    assert calls == []


def test_error_of_a_task_is_passed_on_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def task(config: Config, composition: Composition) -> None:
        raise RuntimeError("it broke")

    with pytest.raises(RuntimeError, match=r"^it broke$"):
        run_main(task, [])
    assert capsys.readouterr() == ("", "")


def test_process_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = (list(sys.argv), dict(os.environ), Path.cwd())
    called("train.seed=2")
    with pytest.raises(ConfigError):
        called("train.sed=2")
    compose(["train.seed=2"])
    assert (list(sys.argv), dict(os.environ), Path.cwd()) == before
    assert not GlobalHydra.instance().is_initialized()


def test_environment_cannot_be_read_from_a_config() -> None:
    with pytest.raises(ConfigError, match=r"^data\.dir: Unsupported interpolation type oc\.env$"):
        called("data.dir=${oc.env:HOME}")


def test_cfg_job_prints_a_config_that_validates(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--cfg", "job", "train.seed=9") == []
    printed = OmegaConf.create(capsys.readouterr().out)
    assert Config.model_validate(OmegaConf.to_container(printed)) == compose_config(
        ["train.seed=9"]
    )


def test_tab_completion_works(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", "fmnist-sweep tuner=")
    assert called("-sc", "query=bash") == []
    assert capsys.readouterr().out.split() == [
        "tuner=bayesian", "tuner=cmaes", "tuner=grid", "tuner=hyperband", "tuner=nsga2",
        "tuner=qmc", "tuner=random", "tuner=tpe",
    ]  # fmt: skip
    monkeypatch.setenv("COMP_LINE", "fmnist-sweep train.opt")
    assert called("-sc", "query=bash") == []
    assert capsys.readouterr().out == "train.optimizer.\n"


def test_user_s_own_hydra_program_is_left_alone() -> None:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    Path("experiments/best").mkdir(parents=True)
    Path("experiments/best/mine.yaml").write_text("train: {seed: 4}\n")
    Path("config.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(Path.cwd()), version_base="1.3"):
        assert compose_config(["+best=mine"]).train.seed == 4
        assert hydra_compose("config") == {"a": 1}
        assert hydra_compose("config", ["+best=mine"]) == {"a": 1, "best": "mine"}
