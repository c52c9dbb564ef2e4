"""The program: compose, validate, call."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence

from fmnist_sweep import environment
from fmnist_sweep.config.compose import Composition, Task, run_main
from fmnist_sweep.config.messages import did_you_mean
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError, FmnistSweepError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code: 0, 1 (trouble), 2 (a user's mistake), 130 (Ctrl-C).

    `argv`: what follows the program's name; by default that of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _exit_code(lambda: run_main(*_task_and_overrides(arguments)))


def run(config: Config, composition: Composition) -> None:
    """Search where the config has a space, else train once."""
    environment.load_tensorflow()
    if config.is_sweep:
        from fmnist_sweep.launch import launch_sweep

        launch_sweep(config, composition)
    else:
        from fmnist_sweep.launch import launch_training

        launch_training(config, composition)


def space(config: Config, composition: Composition) -> None:
    """Print a sweep's search space, starting nothing."""
    environment.load_tensorflow()
    from fmnist_sweep.launch import launch_space

    launch_space(config, composition)


COMMANDS: dict[str, Task] = {"space": space}
"""Side commands: a bare word before the overrides."""


def _task_and_overrides(arguments: list[str]) -> tuple[Task, list[str]]:
    if not arguments or arguments[0].startswith(("-", "+", "~")) or "=" in arguments[0]:
        return run, arguments
    name, *overrides = arguments
    if name not in COMMANDS:
        advice = did_you_mean(name, COMMANDS, of="there are")
        raise ConfigError(f"{name}: no such command{advice}; config is written key=value")
    return COMMANDS[name], overrides


def _exit_code(program: Callable[[], None]) -> int:
    try:
        program()
    except environment.Terminated as terminated:
        return _report("terminated", terminated.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted", 130)
    except FmnistSweepError as error:
        return _report(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort: told in one line, not hidden
        hint = "for the traceback, set HYDRA_FULL_ERROR=1"
        return _report(f"unexpected {type(error).__name__}: {error} ({hint})", 1)
    return 0


def _report(message: str, exit_code: int) -> int:
    """Write one line; the traceback before it, where the user asked for it."""
    if environment.hydra_full_error():
        traceback.print_exc()
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return exit_code
