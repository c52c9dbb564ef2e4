"""Composes configs from a command line. Only this module uses Hydra."""

from __future__ import annotations

import errno
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fmnist_sweep import runtime
from fmnist_sweep.config.composing_errors import bad_syntax, missing_choice, refused
from fmnist_sweep.config.composition import Composition
from fmnist_sweep.config.datafiles import (
    DATA_GROUPS,
    data_file_names,
    find_data_file,
    read_data_file,
)
from fmnist_sweep.config.load import load_config
from fmnist_sweep.config.messages import show
from fmnist_sweep.config.override_grammar import keep_assertions
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.shipped import shipped_conf_dir
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.masking import without_secrets

_PRIMARY = "config"
_VERSION_BASE = "1.3"
_TRAINED = ("data", "split", "model", "train", "expected")
# Where data is found, not what is trained on: that is recorded as a digest. Threads belong to the
# environment, with which a record is compared.
_TRAINS_THE_SAME = (
    "data.dir", "data.file", "data.files", "data.train_file", "data.val_file", "train.threads",
)  # fmt: skip

keep_assertions()

Task = Callable[[Config, Composition], None]


def run_main(task: Task, argv: Sequence[str]) -> None:
    """Compose the configs of a command line, and call `task` with each.

    With `-m`, `task` is called once per combination of values, in order, up to the first error.
    All configs are validated before the first call. Hydra's flags that only print something
    (`--help`, `--cfg job`, `--info`, tab completion) call nothing.

    Raises:
        ConfigError: an argument, or a file that it selects, is invalid.
        SystemExit: raised by a flag of Hydra's that ends the program.
    """
    jobs = [(load_config(raw), _composition(about)) for raw, about in _compose_jobs(argv)]
    for number, (config, composition) in enumerate(jobs, start=1):
        if len(jobs) > 1:
            typed = without_secrets(" ".join(composition.overrides))
            sys.stdout.write(f"[{number}/{len(jobs)}] {typed}\n")
            sys.stdout.flush()
        task(config, composition)


def compose_config(overrides: Sequence[str] = ()) -> Config:
    """Return the config for the given command-line overrides.

    Raises:
        ConfigError: as on the command line.
    """
    return compose(overrides)[0]


def compose(overrides: Sequence[str] = ()) -> tuple[Config, Composition]:
    """Return the config for the given overrides, and how it was composed.

    Raises:
        ConfigError: as on the command line.
    """
    with _readable_errors(overrides), _user_files(), _multirun_dir(), _fresh_hydra():
        folder = str(shipped_conf_dir())
        with hydra.initialize_config_dir(folder, version_base=_VERSION_BASE):
            raw = hydra.compose(_PRIMARY, list(overrides), return_hydra_config=True)
        about = raw.hydra
        with open_dict(raw):
            del raw["hydra"]
        return load_config(raw), _composition(about)


def _compose_jobs(argv: Sequence[str]) -> list[tuple[DictConfig, DictConfig]]:
    """Let Hydra parse the command line; return each job's config, and Hydra's own.

    Hydra only composes: it returns before the first job starts, so that its error handling, and the
    folder that it needs for -m, do not affect the jobs.
    """
    jobs: list[tuple[DictConfig, DictConfig]] = []

    def collect(raw: DictConfig) -> None:
        about = HydraConfig.get()
        assert isinstance(about, DictConfig)
        _refuse_plugins(about)
        jobs.append((raw, about))

    program = hydra.main(
        version_base=_VERSION_BASE, config_path=str(shipped_conf_dir()), config_name=_PRIMARY
    )(collect)
    OmegaConf.clear_resolver("oc.env")
    said = io.StringIO()
    with ExitStack() as during:
        during.enter_context(_readable_errors(argv))
        during.enter_context(_user_files())
        during.enter_context(_multirun_dir())
        during.enter_context(_command_line(argv))
        during.enter_context(runtime.hydra_raises())
        try:
            with redirect_stderr(said):
                program()
        except SystemExit as exit_:
            if exit_.code:  # the argument parser prints its reason after the usage
                reason = said.getvalue().strip().rpartition("error: ")[2]
                raise ConfigError(f"{reason}; see --help and --hydra-help") from exit_
            raise
    sys.stderr.write(said.getvalue())
    return jobs


def _refuse_plugins(about: DictConfig) -> None:
    # Other launchers and sweepers wait for results, which composing does not return.
    for part in ("launcher", "sweeper"):
        name = about.runtime.choices[f"hydra/{part}"]
        if name != "basic":
            raise ConfigError(f"hydra/{part}={name}: must be basic")


def _composition(about: DictConfig) -> Composition:
    overrides = [str(override) for override in about.overrides.task]
    choices = {str(group): name for group, name in about.runtime.choices.items()}
    overridden: dict[str, None] = {}
    deriving = []
    for typed, override in zip(
        overrides, OverridesParser.create().parse_overrides(overrides), strict=True
    ):
        key, value = override.key_or_group, override.value()
        if key.partition(".")[0] in _TRAINED and key not in _TRAINS_THE_SAME:
            deriving.append(typed)
        # `sweep` is both a group and a block; a block's values are in braces.
        chooses = key in choices and not isinstance(value, dict)
        if not (chooses or override.is_delete()):
            overridden |= dict.fromkeys(_leaves(key, value))
    if choices.get("best") and choices.get("baseline"):
        raise ConfigError(
            f"+best={choices['best']} +baseline={choices['baseline']}: choose one of the two"
        )
    return Composition(
        selected={group: str(choices[group]) for group in DATA_GROUPS if choices.get(group)},
        overrides=tuple(overrides),
        overridden_keys=tuple(overridden),
        deriving=tuple(deriving),
    )


def _leaves(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for inner, below in value.items():
            yield from _leaves(f"{key}.{inner}", below)
    else:
        yield key


# --- the user's files -------------------------------------------------------------------------


class UserFiles(ConfigSource):
    """`experiments/` in the working directory: its three groups of data files."""

    @staticmethod
    def scheme() -> str:
        """Return the URL scheme in Hydra's search path."""
        return "experiments"

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a data file; it is validated before Hydra sees it."""
        path = find_data_file(Path(self.path), config_path)
        assert path is not None, config_path
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=read_data_file(path),
            header={"package": "_global_"},
        )

    def is_group(self, config_path: str) -> bool:
        """Whether the path is one of the three groups, which exist even if empty."""
        return config_path in ("", *DATA_GROUPS)

    def is_config(self, config_path: str) -> bool:
        """Whether the path is a data file."""
        return find_data_file(Path(self.path), config_path) is not None

    def available(self) -> bool:
        """Always true, so that Hydra does not warn if the folder is missing."""
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the groups, or the names in a group."""
        if config_path == "":
            return [] if results_filter is ObjectType.CONFIG else list(DATA_GROUPS)
        if results_filter is ObjectType.GROUP:
            return []
        return data_file_names(Path(self.path), config_path)


class UserFilesPlugin(SearchPathPlugin):
    """Puts the user's files before the shipped ones, so that a name used by both is detected."""

    folder: Path | None = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder, while this package is composing."""
        if self.folder is not None:
            search_path.prepend("experiments", f"experiments://{self.folder}", anchor="main")


@contextmanager
def _user_files() -> Iterator[None]:
    """Add `experiments/` to the search path, only while this package is composing."""
    for plugin in (UserFiles, UserFilesPlugin):
        Plugins.instance().register(plugin)
    UserFilesPlugin.folder = Path.cwd() / "experiments"
    try:
        yield
    finally:
        UserFilesPlugin.folder = None


# --- Hydra's surroundings ---------------------------------------------------------------------


@contextmanager
def _multirun_dir() -> Iterator[None]:
    """Give Hydra a folder for the file that -m writes, created only if it is used."""
    with ExitStack() as made:

        def make() -> str:
            return made.enter_context(tempfile.TemporaryDirectory(prefix="fmnist_sweep-"))

        OmegaConf.register_new_resolver(
            "fmnist_sweep.multirun_dir", make, replace=True, use_cache=True
        )
        try:
            yield
        finally:
            OmegaConf.clear_resolver("fmnist_sweep.multirun_dir")


@contextmanager
def _fresh_hydra() -> Iterator[None]:
    """Save and restore Hydra's global state, for callers that are Hydra programs themselves."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before


@contextmanager
def _command_line(argv: Sequence[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = [before[0], *argv]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _readable_errors(overrides: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except MissingConfigException as error:
        line = missing_choice(error.missing_cfg_file or str(error), error.options or ())
        raise ConfigError(line) from error
    except OverrideParseException as error:
        raise ConfigError(bad_syntax(error.override, error.message)) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(refused(error, overrides)) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        # Hydra looks up a file for each key and each choice.
        longest = max(re.split(r"[/.=]", " ".join(overrides)), key=len)
        raise ConfigError(f"{show(longest)}: must be a name of at most 250 characters") from error
    except (AssertionError, AttributeError, LookupError, TypeError) as error:
        # Hydra fails on some input without a message, such as a list of numbers for a group.
        raise ConfigError(f"{' '.join(overrides)}: not valid") from error
