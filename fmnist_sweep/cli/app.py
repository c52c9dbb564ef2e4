"""The program's entry point: composes and validates the config, and calls the command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from mimetypes import guess_type
from pathlib import Path

from fmnist_sweep import interrupts, runtime, streams
from fmnist_sweep.config.compose import Task, run_main
from fmnist_sweep.config.composition import Composition
from fmnist_sweep.config.messages import did_you_mean
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError, FmnistSweepError
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.reasons import reason_of

_SHOWN_WORDS, _SHOWN_LETTERS = 5, 60


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code: 0, 1 (failure), 2 (invalid input), or 128 plus a
    signal's number (129 SIGHUP, 130 Ctrl-C, 131 SIGQUIT, 143 SIGTERM).

    `argv`: arguments after the program's name; by default those of this process.

    Raises:
        SystemExit: raised by a flag of Hydra's that ends the program, such as `--help`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with streams.steady_streams() as out:
        try:
            code = _exit_code(lambda: run_main(*_task_and_overrides(arguments)))
        except SystemExit:
            if _is_missed(out):
                return _report(f"standard output: {out.why_lost()}", 1)
            raise
        if code == 0 and _is_missed(out):
            return _report(f"standard output: {out.why_lost()}", 1)
        return code


def run(config: Config, composition: Composition) -> None:
    """Run a sweep if the config has a space, else a single training."""
    streams.outlive_standard_output()
    runtime.load_tensorflow()
    if config.is_sweep:
        from fmnist_sweep.cli.launch import launch_sweep

        launch_sweep(config, composition)
    else:
        from fmnist_sweep.cli.launch import launch_training

        launch_training(config, composition)


@dataclass(frozen=True)
class Command:
    """A side command: its name, its own words, then overrides as for any config.

    `words` describes its own words to the user; their number must be `least` to `most` (None: no
    limit). `paths`: words may be paths; the path of an existing file and the name of a picture are
    words even if they look like an override.
    """

    run: Callable[..., None]
    words: str = "no words of its own"
    least: int = 0
    most: int | None = 0
    paths: bool = False


def _space(config: Config, composition: Composition) -> None:
    runtime.load_tensorflow()
    from fmnist_sweep.cli.launch import launch_space

    launch_space(config, composition)


def _predict(config: Config, _composition: Composition, *words: str) -> None:
    runtime.load_tensorflow()
    runtime.quiet_mlflow()
    from fmnist_sweep.cli.predict import predict

    predict(config, *words)


def _ui(config: Config, _composition: Composition, *words: str) -> None:
    runtime.quiet_mlflow()
    from fmnist_sweep.cli.ui import ui

    ui(config, *words)


def _side_command(name: str) -> Callable[..., None]:
    """Return a wrapper for a function of `side_commands.py`, which is imported when called."""

    def run(config: Config, _composition: Composition, *words: str) -> None:
        runtime.quiet_mlflow()
        from fmnist_sweep.cli import side_commands

        getattr(side_commands, name)(config, *words)

    return run


COMMANDS = {
    "space": Command(_space),
    "ui": Command(_ui, "[PORT]", most=1),
    "export": Command(_side_command("export"), "RUN [NAME]", least=1, most=2),
    "stop": Command(_side_command("stop"), "TRIAL, as its run is called", least=1, most=1),
    "clean": Command(_side_command("clean"), "SWEEP [yes]", least=1, most=2),
    "report": Command(_side_command("report"), "SWEEP [SWEEP...], 10 at most", least=1, most=10),
    "predict": Command(_predict, "[SWEEP] IMAGE...", least=1, most=None, paths=True),
    "baselines": Command(_side_command("baselines"), "[NAME...]", most=None),
}
"""Side commands by name."""


def _task_and_overrides(arguments: list[str]) -> tuple[Task, list[str]]:
    if not arguments or _is_config(arguments[0]):
        return run, arguments
    name, *rest = arguments
    if name not in COMMANDS:
        advice = did_you_mean(name, COMMANDS, of="there are")
        raise ConfigError(f"{_cut(name)}: no such command{advice}; config is written key=value")
    command = COMMANDS[name]
    words, overrides = _words_and_overrides(command, rest)
    if len(words) < command.least or (command.most is not None and len(words) > command.most):
        raise ConfigError(f"{name}: takes {command.words}, given: {_counted_words(words)}")

    def task(config: Config, composition: Composition) -> None:
        command.run(config, composition, *words)

    return task, overrides


def _words_and_overrides(command: Command, rest: list[str]) -> tuple[list[str], list[str]]:
    """Separate a command's own words from overrides: after `--` everything is a word; before it,
    words end at the first override."""
    end = rest.index("--") if "--" in rest else len(rest)
    before, after = rest[:end], rest[end + 1 :]
    words = list(
        takewhile(
            lambda argument: not _is_config(argument) or (command.paths and _is_path(argument)),
            before,
        )
    )
    return [*words, *after], before[len(words) :]


def _is_config(argument: str) -> bool:
    return argument.startswith(("-", "+", "~")) or "=" in argument


def _is_path(argument: str) -> bool:
    if argument.startswith(("/", "./", "../")):
        return True  # keys cannot begin like that
    if argument.startswith("-"):
        return False
    if (guess_type(argument)[0] or "").startswith("image/"):
        return True  # even if it does not exist: the command reports that
    try:
        return Path(argument).is_file()
    except OSError:  # longer than a file name can be
        return False


def _counted_words(words: Sequence[str]) -> str:
    if len(words) <= _SHOWN_WORDS:
        return " ".join(map(_cut, words)) or "none"
    return f"{len(words):,} words, {' '.join(map(_cut, words[:_SHOWN_WORDS]))} ..."


def _cut(word: str) -> str:
    return word if len(word) <= _SHOWN_LETTERS else f"{word[:_SHOWN_LETTERS]}..."


def _exit_code(program: Callable[[], None]) -> int:
    try:
        with interrupts.terminable(at_once_the_second_time=True):
            program()
    except interrupts.Terminated as terminated:
        return _report(terminated.word, terminated.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted", 130)
    except FmnistSweepError as error:
        return _report(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort; reported in one line
        hint = "for the traceback, set HYDRA_FULL_ERROR=1"
        return _report(f"unexpected {reason_of(error)} ({hint})", 1)
    return 0


def _is_missed(out: streams.SteadyStream) -> bool:
    """Whether output that is the program's result was lost. A closed pipe does not count: its
    reader, such as `head`, needs no more."""
    out.flush()
    return not (out.lost is None or out.is_outlived or isinstance(out.lost, BrokenPipeError))


def _report(message: str, exit_code: int) -> int:
    """Write one line to stderr, after the traceback if the user requested it."""
    if runtime.hydra_full_error():
        traceback.print_exc()
    sys.stderr.write(f"error: {without_secrets(' '.join(message.split()))}\n")
    return exit_code
