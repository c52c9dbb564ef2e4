"""Runs what the command line asks for: a sweep, a training, or a table of a search space."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from fmnist_sweep.cli.console import (
    console,
    leaderboard_table,
    print_commands,
    say_tracking_trouble,
    summary_lines,
)
from fmnist_sweep.cli.display import sweep_display, training_display
from fmnist_sweep.cli.space_table import print_space
from fmnist_sweep.config.composition import Composition
from fmnist_sweep.config.data_schema import KfoldSplit, SplitConfig
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError, NotReproduced, RunError, TrialFailed, UserError
from fmnist_sweep.journal.identity import search_words
from fmnist_sweep.journal.leaderboard import further_in_words
from fmnist_sweep.journal.spending import continued
from fmnist_sweep.provenance import command, recorded_command
from fmnist_sweep.runs.comparisons import print_verification, reported_table
from fmnist_sweep.runs.single import Origin, run_single
from fmnist_sweep.sweep.finish import confirmation_epochs
from fmnist_sweep.sweep.opening import Composed
from fmnist_sweep.sweep.plan import SweepPlan, plan_sweep
from fmnist_sweep.sweep.results import Sweep
from fmnist_sweep.sweep.run import run_sweep
from fmnist_sweep.tracking.opening import ui_command
from fmnist_sweep.training.preparation import overrides_with_threads
from fmnist_sweep.workspace import Workspace


def launch_sweep(config: Config, composition: Composition) -> None:
    """Run or resume a sweep, printing its progress and the next commands."""
    out = console(as_terminal=config.display == "live")
    overrides = overrides_with_threads(composition.overrides, config, config.executor)
    try:
        with sweep_display(config, out, lambda plan: _announce(plan, out)) as watch:
            sweep = run_sweep(
                config,
                label=composition.selected.get("sweep", "sweep"),
                composed=Composed(composition.overridden_keys, overrides),
                watch=watch,
            )
    except (KeyboardInterrupt, RunError):
        out.print(f"To resume: {recorded_command(overrides)}", soft_wrap=True)
        raise
    _conclude(sweep, overrides)


def launch_training(config: Config, composition: Composition) -> None:
    """Train one config with tracking, and compare it with its record, if it has one.

    Raises:
        NotReproduced: config or data differ from the record, or the result does.
    """
    out = console(as_terminal=config.display == "live")
    source = composition.source
    label = "train" if source is None else source.partition("/")[2]
    origin = Origin(source, derived=bool(composition.deriving))
    overrides = overrides_with_threads(composition.overrides, config)
    try:
        with training_display(config, out) as display:
            run = run_single(
                config,
                label,
                overrides,
                origin,
                on_start=display.on_start,
                on_epoch=display.on_epoch,
                on_step=display.on_step,
                on_trouble=say_tracking_trouble,
            )
    except BaseException as error:
        if not isinstance(error, UserError | NotReproduced | TrialFailed):
            out.print(f"To resume: {recorded_command(overrides)}", soft_wrap=True)
        raise
    result = run.result
    names: dict[str, None] = dict.fromkeys([config.train.monitor.metric, "val_accuracy"])
    best = {name: result.best_metrics[name] for name in names if name in result.best_metrics}
    best |= {"test_accuracy": result.test_accuracy, "test_loss": result.test_loss}
    told = ", ".join(f"{name} {value:.4f}" for name, value in best.items())
    out.print(f"best epoch {result.best_epoch}: {told} ({result.train_seconds:.1f} s)")
    out.print(f"weights {result.weights_sha256[:16]}, best {result.best_weights_sha256[:16]}")
    if config.reported is not None:
        out.print(reported_table(config.reported, result))
    if run.verification is not None:
        print_verification(out, run.verification)
    elif config.expected is not None:
        out.print(f"derived from {source}: {' '.join(composition.deriving)}; not compared")
    print_commands(out, {**_keep_it(run.run_id), **_see_it(config)})
    if run.not_tracked is not None:
        raise run.not_tracked
    if run.verification is not None and not run.verification.matches:
        raise NotReproduced(f"{source}: the rerun's result differs from the record")


def launch_space(config: Config, composition: Composition) -> None:
    """Print a sweep's search space, without running anything."""
    if not config.is_sweep:
        raise ConfigError(
            "space: this config has no search space; choose a sweep, such as +sweep=cnn"
        )
    plan = plan_sweep(
        config,
        None,
        None,
        label=composition.selected.get("sweep", "sweep"),
        pinned=composition.overridden_keys,
        workspace=Workspace.here(),
    )
    print_space(plan, console())


def _announce(plan: SweepPlan, out: Console) -> None:
    dataset, split = plan.prepared.dataset, plan.prepared.split
    validation = 0 if split.validation is None else len(split.validation)
    images = f"{len(split.train):,} train / {validation:,} validate"
    if split.folds:
        images = f"{len(split.train):,} in {_folds(plan.config.split)}"
    if dataset.understood:
        out.print(dataset.understood, soft_wrap=True)
    out.print(
        f"sweep {plan.name}: {search_words(plan.identity)}, {len(plan.space.leaves)} searched "
        f"values, {dataset.name} {images} / "
        f"{len(split.test):,} test, {_threads(plan.config)}",
        soft_wrap=True,
    )
    for path in plan.pinned:
        out.print(f"{path} is pinned on the command line: no longer searched", soft_wrap=True)
    if split.official_set(dataset) is None:
        out.print(
            "with this split there is no official test set: the winner is not evaluated on one"
        )
    extra = confirmation_epochs(plan.config, plan.epochs)
    if extra:
        out.print(f"confirmation will take up to {extra} more epochs")
    if split.folds:
        out.print("the winner is trained on all images that are not test once more, at the end")


def _folds(config: SplitConfig) -> str:
    assert isinstance(config, KfoldSplit)
    repeats = "" if config.repeats == 1 else f", {config.repeats} times"
    return f"{config.folds} folds{repeats}"


def _threads(config: Config) -> str:
    threads = counted(config.train.threads or 0, "thread")
    workers = config.executor.workers
    if workers is None:
        return f"workers of {threads} each"
    return threads if workers == 1 else f"{workers} workers of {threads} each"


def _conclude(sweep: Sweep, overrides: tuple[str, ...]) -> None:
    out = console()
    out.print(leaderboard_table(sweep.state, sweep.config.sweep.metrics, width=out.width))
    for line in summary_lines(sweep.state):
        out.print(line, soft_wrap=True)
    state, best = sweep.state, sweep.state.best
    ended = state.ended.reason if state.ended is not None else ""
    out.print(
        f"{sweep.name}: {len(state.trials)} trials, {state.epochs_total} epochs, "
        f"{state.rung_seconds / 60:.1f} min in rungs; ended: {ended}",
        soft_wrap=True,
    )
    if best is None or best.result is None:
        raise RunError(f"sweep {sweep.name}: no trial completed")
    out.print(
        f"winner: trial {best.number}, {state.objective.metric} {best.score:.4f}, "
        f"test_accuracy {(best.model_result or best.result).test_accuracy:.4f}"
        f"{''.join(f', {words}' for words in further_in_words(best, state))}",
        soft_wrap=True,
    )
    if state.official:
        look = state.official[-1]
        out.print(f"official_test_accuracy {look.accuracy:.4f} (evaluation {len(state.official)})")
    _say_renamed(out, sweep)
    _say_registered(out, sweep)
    on = continued(recorded_command(overrides), sweep.config.sweep, ended)
    commands = {} if on is None else {"continue": on}
    if sweep.best_file is not None:
        commands = {"reproduce": command((f"+best={sweep.best_file.stem}",)), **commands}
    if sweep.registration is not None:
        commands["predict"] = f"{command(())} predict {sweep.name} IMAGE.png"
    if sweep.report is not None:
        commands["read"] = str(sweep.report.relative_to(Path.cwd()))
    print_commands(out, {**commands, **_see_it(sweep.config)})


def _say_renamed(out: Console, sweep: Sweep) -> None:
    found = sweep.registration
    is_renamed = found is not None and found.is_renamed
    if sweep.renaming is None and not is_renamed:
        return
    renewed = {
        "the report": sweep.report is not None,
        "split/classes.csv in MLflow": sweep.run_id is not None,
        "the registered model": is_renamed,
    }
    made_again = ", ".join(what for what, is_so in renewed.items() if is_so) or "nothing"
    out.print(
        f"the names of the classes have changed: {sweep.renaming or 'since the registered model'}; "
        f"rewritten without training: {made_again}",
        soft_wrap=True,
    )


def _say_registered(out: Console, sweep: Sweep) -> None:
    found = sweep.registration
    if found is None:
        return
    standing = "the champion" if found.is_champion else "not the champion"
    out.print(
        f"registered: {found.version.name} version {found.version.number}, {standing} "
        f"({found.why})",
        soft_wrap=True,
    )


def _keep_it(run_id: str | None) -> dict[str, str]:
    """Return the command that exports a run as a config with its record."""
    return {} if run_id is None else {"export": f"{command(())} export {run_id}"}


def _see_it(config: Config) -> dict[str, str]:
    """Return how to view the results, if there are any."""
    where = ui_command(config.tracking, Workspace.here())
    return {} if where is None else {"view": where}
