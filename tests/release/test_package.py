"""The wheel, installed where the checkout is not, and the package's own front door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import fmnist_sweep

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
SHIPPED = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
GROUP_FILES = [path for path in SHIPPED if path.parent != Path()]


@dataclass(frozen=True)
class Installed:
    """A fresh environment that holds the wheel, and a folder that holds nothing."""

    wheel: Path
    environment: Path
    folder: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run([str(self.environment / "bin" / "python"), *arguments], self.folder)


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    built, environment, folder = (tmp_path_factory.mktemp(name) for name in ("dist", "env", "cwd"))
    here = sys.executable
    for command in (
        [here, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(ROOT)],
        [here, "-m", "venv", "--without-pip", str(environment)],
    ):
        done = run(command, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = built.glob("*.whl")
    python = str(environment / "bin" / "python")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    done = run([here, "-m", "pip", "--python", python, "install", *options, str(wheel)], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    # The dependencies are seen through a path; .pth files behind such a path are not read, so
    # that the editable install of the checkout stays out of sight.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(wheel, environment, folder)


def test_the_wheel_is_what_is_imported(installed: Installed) -> None:
    done = installed.python("-c", "import fmnist_sweep as f; print(f.__file__, f.__version__)")
    file, version = done.stdout.split()
    assert Path(file).is_relative_to(installed.environment), done.stdout
    assert version == fmnist_sweep.__version__
    assert installed.wheel.name == f"fmnist_sweep-{version}-py3-none-any.whl"


def test_the_wheel_holds_the_package_its_configs_and_nothing_else(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
    modules = {
        path.relative_to(ROOT)
        for kind in ("*.py", "*.bits", "templates/*.css", "templates/*.j2")
        for path in (ROOT / "fmnist_sweep").rglob(kind)
    }
    configs = {Path("fmnist_sweep/conf") / path for path in SHIPPED}
    meta = {name for name in names if name.parts[0].endswith(".dist-info")}
    assert names - meta == modules | configs | {Path("fmnist_sweep/py.typed")}
    assert any(name.name == "LICENSE" for name in meta)


def test_help_shows_the_commands(installed: Installed) -> None:
    done = installed.python("-m", "fmnist_sweep", "--help")
    assert done.returncode == 0, done.stderr
    assert "python -m fmnist_sweep +sweep=cnn" in done.stdout
    script = run([str(installed.environment / "bin" / "fmnist-sweep"), "--help"], installed.folder)
    assert script.stdout == done.stdout


ALL_CONFIGS = """
import contextlib, io, json, sys
from fmnist_sweep.cli.app import main

printed = []
for override in sys.argv[1:]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([override, "--cfg", "job"])
    printed.append([code, out.getvalue()])
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def composed(installed: Installed) -> dict[Path, tuple[int, str]]:
    """The exit code and the printed config for each shipped file; one process for them all."""
    overrides = [
        f"{'' if str(path.parent) in default_groups() else '+'}{path.parent}={path.stem}"
        for path in GROUP_FILES
    ]
    done = installed.python("-c", ALL_CONFIGS, *overrides)
    assert done.returncode == 0, done.stderr
    return dict(zip(GROUP_FILES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("path", GROUP_FILES, ids=str)
def test_each_shipped_config_composes_from_another_folder(
    installed: Installed, composed: dict[Path, tuple[int, str]], path: Path
) -> None:
    group = str(path.parent)
    code, printed = composed[path]
    assert code == 0
    found = plain(OmegaConf.create(printed))
    written = plain(OmegaConf.load(CONF / path))
    written.pop("defaults", None)
    is_global = "@package _global_" in (CONF / path).read_text()
    assert missing_from(found if is_global else found[group], written) == []
    assert list(installed.folder.iterdir()) == []


def test_there_is_something_to_compose() -> None:
    groups = {str(path.parent) for path in GROUP_FILES}
    assert groups >= {*default_groups(), "sweep"}
    assert {"cnn", "smoke"} <= {path.stem for path in GROUP_FILES if path.parts[0] == "sweep"}


def default_groups() -> set[str]:
    """The groups that the main config takes a file of; files of others are added with a `+`."""
    entries = plain(OmegaConf.load(CONF / "config.yaml"))["defaults"]
    names = {name for entry in entries if isinstance(entry, dict) for name in entry}
    return {name for name in names if not name.startswith("override ")}


def plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=False)


def missing_from(composed: Any, written: Any, at: str = "") -> list[str]:
    """The paths at which `composed` does not hold what the file says."""
    if isinstance(composed, dict) and isinstance(written, dict):
        return [
            path
            for key, value in written.items()
            for path in missing_from(composed.get(key, "(absent)"), value, f"{at}.{key}")
        ]
    return [] if composed == written else [f"{at}: {composed!r}, in the file {written!r}"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("tensorflow", "keras", "numpy", "pandas", "mlflow", "hydra", "pydantic")
    code = f"import fmnist_sweep, sys; print([m for m in {heavy} if m in sys.modules])"
    assert run([sys.executable, "-c", code], ROOT).stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    from fmnist_sweep import data
    from fmnist_sweep.config import compose, metrics
    from fmnist_sweep.data import npz_data
    from fmnist_sweep.model import builder, wrapper
    from fmnist_sweep.sweep import results as sweep
    from fmnist_sweep.sweep import run as running

    homes: dict[str, Any] = {
        "FashionMNISTCNN": wrapper,
        "balanced_test_split": data,
        "build_cnn": builder,
        "compose_config": compose,
        "dataset_from_arrays": npz_data,
        "load_dataset": data,
        "load_sweep": sweep,
        "register_metric": metrics,
        "run_sweep": running,
    }
    assert set(fmnist_sweep.__all__) == {"__version__", *homes}
    assert set(fmnist_sweep.__all__) <= set(dir(fmnist_sweep))
    for name, home in homes.items():
        assert getattr(fmnist_sweep, name) is getattr(home, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_sweeps'"):
        _ = fmnist_sweep.run_sweeps


def test_mlflow_and_optuna_are_imported_where_they_are_used() -> None:
    # MLflow after its settings were made, which it reads when it is imported.
    code = (
        "import sys, fmnist_sweep.cli.launch, fmnist_sweep.cli.predict, fmnist_sweep.runs.single;"
        "print(sorted({'mlflow', 'optuna'} & {*sys.modules}))"
    )
    assert run([sys.executable, "-c", code], ROOT).stdout.strip() == "[]"
