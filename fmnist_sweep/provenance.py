"""The provenance of a result: machine, packages, code, command."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fmnist_sweep import runtime
from fmnist_sweep.config.record_schema import Environment, Numerics
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.masking import without_secrets

# Version of this package's own calculations: incremented with each change that alters the bits of a
# training, so that earlier records are compared within their tolerance.
ARITHMETIC = "2"
_CALCULATING = ("tensorflow", "keras", "numpy")
_OTHERS = ("fmnist-sweep", "keras-tuner", "mlflow", "hydra-core", "omegaconf", "pydantic", "pandas")
# Instruction sets for which TensorFlow, oneDNN and NumPy have separate code.
_FEATURES = ("sse4", "ssse3", "avx", "fma", "f16c", "bf16", "amx", "asimd", "neon", "sve", "i8mm")
_MOST_OF_A_DIFF = 1_000_000


def environment_of_run(config: RunConfig, overrides: tuple[str, ...]) -> Environment:
    """Return the environment of a run of this config, whose threads are resolved; starts
    TensorFlow.

    `overrides`: how the config was composed.
    """
    threads = config.train.threads
    assert threads is not None  # set by `with_threads`
    commit = git_commit(Path.cwd())
    calculating = {
        "python": ".".join(map(str, sys.version_info[:3])),
        **_versions(_CALCULATING),
        "arithmetic": ARITHMETIC,
    }
    return Environment(
        numerics=Numerics(
            versions=calculating,
            cpu=cpu_model(),
            cpu_features=_cpu_features(),
            accelerators=runtime.accelerators(),
            threads=threads,
            settings=runtime.numeric_settings(),
        ),
        packages=_versions(_OTHERS),
        platform=platform.platform(),
        git_commit=commit,
        git_changed=None if commit is None else git_diff(Path.cwd()) is not None,
        command=recorded_command(overrides),
    )


def package_version() -> str:
    """Return this package's version."""
    return _versions(("fmnist-sweep",))["fmnist-sweep"]


def code_digest() -> str:
    """Return the SHA-256 of this package's code, in hex: whether two machines have the same."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def serving_requirements() -> list[str]:
    """Return pip requirements, with versions, for loading a saved network elsewhere."""
    wanted = (*_CALCULATING, "pandas")
    return [f"{name}=={version}" for name, version in _versions(wanted).items()]


def command(overrides: tuple[str, ...]) -> str:
    """Return the command with these overrides, ready to be copied."""
    return shlex.join(["python", "-m", "fmnist_sweep", *overrides])


def was_typed(line: str) -> bool:
    """Whether a recorded command was typed; for calls of `run_sweep` from Python it has no words
    after the program's name."""
    return len(shlex.split(line)) > 3


def recorded_command(overrides: tuple[str, ...]) -> str:
    """Return the command without secrets of the environment, for storing."""
    return command(tuple(map(without_secrets, overrides)))


def recorded_config(config: Config) -> Config:
    """Return a config for storing, without secrets of the environment in its tracking texts. What
    is trained is not changed."""
    tracking = config.tracking
    masked = {
        "uri": _masked(tracking.uri),
        "note": _masked(tracking.note),
        "tags": {name: without_secrets(text) for name, text in tracking.tags.items()},
    }
    return config.model_copy(update={"tracking": tracking.model_copy(update=masked)})


def _masked(text: str | None) -> str | None:
    return None if text is None else without_secrets(text)


def git_commit(folder: Path) -> str | None:
    """Return the commit that a folder is checked out at, or None if there is none."""
    answer = _git(folder, "rev-parse", "HEAD")
    return None if answer is None else answer.strip()


def git_diff(folder: Path) -> str | None:
    """Return the differences between the tracked files of a folder's repository and its commit.

    Without secrets of the environment. None if there are no differences or no repository; a very
    long diff is truncated, with a remark.
    """
    # Regardless of the user's settings, no external program is run and no colours are used.
    answer = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
    if not answer:
        return None
    answer = without_secrets(answer)  # before truncating, which may cut a secret in half
    if len(answer) > _MOST_OF_A_DIFF:
        return f"{answer[:_MOST_OF_A_DIFF]}\n[truncated: {len(answer):,} characters]\n"
    return answer


def cpu_model() -> str:
    """Return the processor's name as reported by the system.

    Virtual machines report a generic name; family and model distinguish generations.
    """
    name = _cpuinfo("model name")
    family, model = _cpuinfo("cpu family"), _cpuinfo("model")
    if name is not None and family is not None and model is not None:
        return f"{name} (family {family}, model {model})"
    if name is None and sys.platform == "darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
    return (name or platform.processor() or platform.machine()).strip()


def _cpu_features() -> list[str]:
    """Return the processor's instruction sets that determine which code is used."""
    flags = _cpuinfo("flags") or _cpuinfo("Features") or ""
    return sorted(flag for flag in flags.split() if flag.startswith(_FEATURES))


def _cpuinfo(key: str) -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:  # not Linux
        pass
    return None


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree without installation
            found[package] = "not installed"
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    return _output("git", "-C", str(folder), *arguments)


def _output(*words: str) -> str | None:
    try:
        answer = subprocess.run(words, capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace")
