"""Side commands that do not train, and so do not import TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

from fmnist_sweep.cli.console import console, print_commands
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.datafiles import check_file_name, data_file_names
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError, NoStore
from fmnist_sweep.files import check_writable, size_of, write_text_whole
from fmnist_sweep.journal.failed_attempt import attempts
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal, first_record, names_of_sweeps
from fmnist_sweep.journal.lock import held
from fmnist_sweep.journal.records import Begun, TrialStatus
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.provenance import command
from fmnist_sweep.report.source import ReportSource, source_in, source_of_run
from fmnist_sweep.runs.baselines import Baseline, markdown, write_baseline_file
from fmnist_sweep.runs.export import export_run
from fmnist_sweep.sweep.stopping import request_stop
from fmnist_sweep.sweep.trial_folders import trial_folder
from fmnist_sweep.tracking.baseline_runs import read_baseline_runs
from fmnist_sweep.tracking.keys import sweep_key
from fmnist_sweep.tracking.mlflow.calls import quoted
from fmnist_sweep.tracking.mlflow.cleaner import MlflowCleaner
from fmnist_sweep.tracking.mlflow.entities import KEY_TAG
from fmnist_sweep.tracking.mlflow.reader import MlflowReader, SeenRun
from fmnist_sweep.tracking.opening import experiments_to_read, open_cleaner, open_reader
from fmnist_sweep.training.checkpoint import CheckpointFolder
from fmnist_sweep.workspace import Workspace

_PAGE = Path("docs") / "baselines.md"


def export(config: Config, run: str, name: str | None = None) -> None:
    """Write a tracked run as a config into `experiments/best/`; `run` is its ID or name."""
    if name is not None:
        name = name.removesuffix(".yaml")
        check_file_name(name, f"export: NAME={name}")
    reader = _reader(config)
    seen = reader.run(run, experiments_to_read(config.tracking))
    workspace = Workspace.here()
    check_writable(workspace.best)
    file = export_run(reader, seen, workspace.best, name)
    out = console()
    done = "written to" if file.is_new else "exists already:"
    out.print(f"run {seen.name}: {done} {workspace.shown(file.path)}", soft_wrap=True)
    print_commands(out, {"reproduce": command((f"+best={file.path.stem}",))})


def report(config: Config, *names: str) -> None:
    """Recreate the report of a sweep, or a page that compares several, from their folders or, if
    those do not exist, from MLflow."""
    sources = [_report_source(config, name) for name in dict.fromkeys(names)]
    workspace = Workspace.here()
    check_writable(workspace.reports)
    from fmnist_sweep.report.reporting import write_comparison, write_report  # imports Matplotlib

    path = write_report(sources[0]) if len(sources) == 1 else write_comparison(sources)
    console().print(f"written: {workspace.shown(path)}", soft_wrap=True)


def _report_source(config: Config, name: str) -> ReportSource:
    check_file_name(name, f"report: SWEEP={name}")
    workspace = Workspace.here()
    source = source_in(workspace.sweep(name))
    if source is not None:
        return source
    there = ", ".join(names_of_sweeps(workspace.sweeps))
    missing = f"report: sweep {name}: not found; there are: {there or 'none'}"
    if not config.tracking.enabled:
        raise ConfigError(missing)
    try:
        reader = _reader(config)
    except NoStore as error:
        raise ConfigError(missing) from error
    run = reader.sweep(name, experiments_to_read(config.tracking))
    if run is None:
        raise ConfigError(missing)
    return source_of_run(reader, run)


def clean(config: Config, name: str, sure: str | None = None) -> None:
    """Show a sweep's disk usage and, if `sure` is yes, delete its runs and its folder."""
    check_file_name(name, f"clean: SWEEP={name}")
    if sure not in (None, "yes"):
        raise ConfigError(f"clean: {sure}: must be yes, or omitted to show the sizes only")
    workspace = Workspace.here()
    folder = workspace.sweep(name)
    cleaner, runs = _runs_of_sweep(config, folder)
    if not runs and not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("*") if path.is_dir())
        raise ConfigError(f"sweep {name}: not found; there are: {', '.join(there) or 'none'}")
    out = console()
    if cleaner is not None:
        artifacts = cleaner.artifact_bytes(runs)
        shown = "on the server" if artifacts is None else _megabytes(artifacts)
        kept = cleaner.elsewhere(runs)
        gone = len(runs) - len(kept)
        out.print(f"{counted(gone, 'run')} in MLflow, their artifacts: {shown}", soft_wrap=True)
        if kept:
            out.print(
                f"{counted(len(kept), 'run')} not deleted: their artifacts are outside of "
                f"this workspace, such as {next(iter(kept))}",
                soft_wrap=True,
            )
    report = workspace.report(name)
    for place in (folder, *([report] if report.is_dir() else [])):
        out.print(f"{workspace.shown(place)}: {_megabytes(size_of(place))}")
    if sure is None:
        print_commands(out, {"delete it": f"{command(())} clean {name} yes"})
        return
    with held(folder / "lock"):
        if cleaner is not None:
            cleaner.delete(runs)
        shutil.rmtree(folder)
        shutil.rmtree(report, ignore_errors=True)
    freed = cleaner is None or cleaner.frees_space
    out.print("deleted" if freed else "deleted here; `mlflow gc` on the server frees the space")
    out.print("exported configs in experiments/best and registered models are not deleted")


def _runs_of_sweep(config: Config, folder: Path) -> tuple[MlflowCleaner | None, list[SeenRun]]:
    """Return a sweep's runs, and the cleaner that deletes them, None without tracking.

    If the sweep's folder exists, only its own runs are returned, because another sweep in the same
    store may have the same name; otherwise all runs of that name.
    """
    journal = folder / JOURNAL_FILE
    if not config.tracking.enabled:
        return None, []
    try:
        cleaner = open_cleaner(config.tracking, Workspace.here())
    except NoStore:
        if journal.exists():  # it ran without tracking
            return None, []
        raise
    of_that_name = f"tags.`sweep.name` = {quoted(folder.name)}"
    runs = _reader(config).runs(experiments_to_read(config.tracking), of_that_name, deleted=True)
    there = [journal, *attempts(folder)] if journal.exists() else []
    begun = [record for one in there if isinstance(record := first_record(one), Begun)]
    if begun:
        keys = tuple(f"{sweep_key(record.name, record.at)}/" for record in begun)
        runs = [run for run in runs if f"{run.tags.get(KEY_TAG)}/".startswith(keys)]
    return cleaner, runs


def stop(config: Config, run: str) -> None:
    """Ask a sweep to stop a trial, given by its run's name, after its current epoch."""
    name, _, number = run.rpartition("-")
    if not name:
        raise ConfigError(f"stop: {run}: must be the name of a trial's run, SWEEP-NUMBER")
    check_file_name(name, f"stop: TRIAL={run}")
    workspace = Workspace.here()
    folder = workspace.sweep(name)
    state = SweepState.after(Journal(folder / JOURNAL_FILE), config.sweep.objective)
    if state.begun is None:
        there = names_of_sweeps(workspace.sweeps)
        raise ConfigError(
            f"stop: {run}: sweep {name!r} not found; there are: {', '.join(there) or 'none'}"
        )

    def may_go_on(number: int) -> bool:  # only these trials keep their checkpoints
        return not CheckpointFolder(trial_folder(folder, number)).is_empty

    can_be = [
        str(trial.number)
        for trial in state.trials.values()
        if state.ended is None
        and not trial.is_over
        and (trial.status is TrialStatus.RUNNING or may_go_on(trial.number))
    ]
    if number not in can_be:
        allowed = ", ".join(f"{name}-{one}" for one in can_be) or "none at present"
        raise ConfigError(f"stop: {run}: cannot be stopped; allowed: {allowed}")
    check_writable(folder / "stop")
    request_stop(folder, int(number))
    when = "after its current epoch, or after the next one if the sweep is not running"
    if state.trials[int(number)].status is not TrialStatus.RUNNING:
        when = "at its current epoch: it will not be promoted"
    console().print(f"trial {number} of {name} will stop {when}", soft_wrap=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def baselines(config: Config, *names: str) -> None:
    """Write the table, headers and records of all or some baselines from their runs."""
    folder = Workspace.here().baselines
    there = data_file_names(folder.parent, "baseline")
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ConfigError(
            f"baselines: {unknown[0]}: not found in experiments/baseline; there are: "
            f"{', '.join(there) or 'none'}"
        )
    reader, out, found, missing = _reader(config), console(), [], []
    for name in names or there:
        baseline_config = compose_config([f"+baseline={name}"])
        if baseline_config.reported is None:
            out.print(f"{name}: has no `reported` results; not changed")
            continue
        runs = read_baseline_runs(
            baseline_config, reader, f"baseline/{name}", experiments_to_read(config.tracking)
        )
        if runs is None:
            missing.append(name)
            make_them = command(("-m", f"+baseline={name}", "train.seed=1,2,3"))
            out.print(f"{name}: no finished run of this config was tracked: {make_them}")
            continue
        baseline = Baseline(name, baseline_config.reported, runs)
        write_baseline_file(folder / f"{name}.yaml", baseline)
        left_out = f", {counted(runs.left_out, 'run')} of other machines excluded"
        out.print(
            f"{name}: header and record of seeds {', '.join(map(str, runs.seeds))}"
            + (left_out if runs.left_out else "")
        )
        found.append(baseline)
    if found and not names and not missing:
        write_text_whole(Path.cwd() / _PAGE, markdown(found))
        out.print(f"{counted(len(found), 'baseline')}: {_PAGE}")
    elif found and not names:
        out.print(f"{_PAGE} is not changed: it is written when all baselines have runs")


def _reader(config: Config) -> MlflowReader:
    return open_reader(config.tracking, Workspace.here())
