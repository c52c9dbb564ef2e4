"""`report.html`: a single self-contained file that loads nothing from the network."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from fmnist_sweep.analysis.material import DataMaterial
from fmnist_sweep.analysis.words import (
    overrides_in_words,
    plain,
    time_in_words,
)
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.journal.identity import search_words, space_of
from fmnist_sweep.journal.leaderboard import (
    also_shown,
    front_lines,
    metric_cells,
    paused_words,
    score_words,
    spread_words,
    stopped_words,
)
from fmnist_sweep.journal.records import TrialStatus
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.provenance import command, package_version, was_typed
from fmnist_sweep.report.source import ReportSource
from fmnist_sweep.training.results import RunResult

_LEADERS = 20


@dataclass(frozen=True)
class Picture:
    """A picture of a report: `section` is search, winner or data; `width` is in CSS pixels; a
    `wide` picture has a row of its own."""

    name: str
    section: str
    title: str
    caption: str
    png: bytes
    width: int
    is_wide: bool

    @property
    def base64(self) -> str:
        """The picture encoded for a data URL."""
        return base64.b64encode(self.png).decode()


def report_page(
    source: ReportSource, pictures: Sequence[Picture], search_notes: Sequence[str]
) -> str:
    """Return a sweep's report. `search_notes` explain which pictures are missing."""
    state = source.state
    ranking = state.ranking()
    of_sections = {
        section: [picture for picture in pictures if picture.section == section]
        for section in ("search", "winner", "data")
    }
    failed = [state.trials[number] for number in sorted(state.failed_trials)]
    space = space_of(source.begun.identity)
    material = source.material
    more = also_shown(state, () if material is None else material.metrics)
    metric = state.objective.metric
    rows = [_row(rank, t, metric, more, state.front) for rank, t in enumerate(ranking, 1)]
    parts = {
        "trials": "Trials",
        **({"search": "Search"} if of_sections["search"] else {}),
        **({"winner": "Winner"} if ranking else {}),
        **({"data": "Data"} if material is not None else {}),
        "space": "Search space",
        "made": "Provenance",
    }
    values = {
        "title": f"Sweep {source.name}",
        "subtitle": _subtitle(source),
        "warnings": _warnings(source),
        "sections": parts.items(),
        "figures": _figures(state),
        "next_commands": _commands(source),
        "metric": state.objective.metric,
        "more_metrics": more,
        "has_front": bool(state.further_objectives),
        "leaders": rows[:_LEADERS],
        "others": rows[_LEADERS:],
        "notes": _notes(state),
        "failures": [
            {"trial": t.number, "reason": t.reason, "searched": overrides_in_words(t.overrides)}
            for t in failed
        ],
        "pictures": of_sections,
        "search_notes": search_notes,
        "winner": _winner(state, ranking[0]) if ranking else None,
        "data": None
        if material is None
        else {"name": material.data.name, "facts": _data(material.data)},
        "space": [
            {"path": leaf.path, "domain": str(leaf.domain), "where": leaf.where}
            for leaf in space.leaves
        ],
        "variants": [
            (name, overrides_in_words(given) or "the base config")
            for name, given in space.variants.items()
        ],
        "places": [_place(place) for place in state.environments],
        "digests": _digests(source),
    }
    return render("report.html.j2", values)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Render a template of this package; all values are escaped."""
    look = _ENVIRONMENT.get_template("look.css").render()
    own = {"look": look, "version": package_version()}
    return _ENVIRONMENT.get_template(template).render({**values, **own})


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("fmnist_sweep.report"),
    autoescape=jinja2.select_autoescape(["html.j2"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _subtitle(source: ReportSource) -> str:
    state, identity = source.state, source.begun.identity
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(source.begun.at))
    ended = "it has not ended yet" if state.ended is None else f"ended: {state.ended.reason}"
    objective = " and ".join(f"{o.metric}, {o.direction}imised" for o in state.objectives)
    return f"begun {began}; {search_words(identity)}; {objective}; {ended}"


def _warnings(source: ReportSource) -> list[str]:
    told = []
    if source.material is not None and source.material.data.synthetic:
        told.append("The images are synthetic, made for tests and demonstrations: not real data.")
    if source.material is None:
        told.append(
            "Data and predictions are not shown: there is no material.npz; it is written when a "
            "sweep ends."
        )
    elif source.is_behind:
        told.append(
            "The winner's predictions are not shown: material.npz is of the previous winner; it is "
            "rewritten when the sweep ends."
        )
    return told


def _figures(state: SweepState) -> list[tuple[str, str]]:
    best = state.best
    figures = []
    if best is not None and best.result is not None:
        figures += [
            (f"best {state.objective.metric}", f"{best.score:.4f}"),
            ("test_accuracy of the winner", f"{_of_model(best).test_accuracy:.4f}"),
        ]
    if state.official:
        look = state.official[-1]
        figures.append(
            (f"official test (evaluation {len(state.official)})", f"{look.accuracy:.4f}")
        )
    failed = f", {len(state.failed_trials)} failed" if state.failed_trials else ""
    figures += [
        (f"trials{failed}", f"{len(state.trials):,}"),
        ("total epochs", f"{state.epochs_total:,}"),
        ("training time", time_in_words(state.rung_seconds)),
    ]
    return figures


def _commands(source: ReportSource) -> list[tuple[str, str]]:
    line = source.begun.command
    if not was_typed(line):
        line = "run_sweep(config)  # from Python, as it was begun"
    found = [("Resume it, or go on with larger budgets", line)]
    material = None if source.is_behind else source.material
    if material is not None and material.best_name is not None:
        found.append(("Train the winner again", command((f"+best={material.best_name}",))))
    if material is not None and material.is_registered:
        found.append(("Ask the winner", f"{command(())} predict {source.name} IMAGE.png"))
    found.append(("Make this report again", f"{command(())} report {source.name}"))
    return found


def _row(
    rank: int, trial: Trial, metric: str, more: Sequence[str], front: Collection[int]
) -> dict[str, Any]:
    result = trial.result
    assert result is not None  # ranked trials have a result
    return {
        "rank": rank,
        "trial": trial.number,
        "is_on_front": trial.number in front,
        "score": score_words(trial, metric),
        "test_accuracy": f"{result.test_accuracy:.4f}",
        "more_metrics": metric_cells(trial, more),
        "parameters": f"{result.parameters:,}",
        "best_epoch": result.best_epoch,
        "epochs": result.last_epoch,
        "seconds": f"{result.train_seconds:.1f}",
        "searched": overrides_in_words(trial.overrides),
    }


def _notes(state: SweepState) -> list[str]:
    notes = [
        f"Trial {trial.number} was {stopped_words(trial.stopped_by, trial.stopped_at)}."
        for trial in state.trials.values()
        if trial.stopped_at is not None
    ]
    notes += [
        f"Trial {trial.number} was {paused_words(trial)}."
        for trial in state.trials.values()
        if trial.is_paused
    ]
    running = [t.number for t in state.trials.values() if t.status is TrialStatus.RUNNING]
    if running:
        notes.append(f"Not finished: {counted(len(running), 'trial')}.")
    if state.infeasible:
        notes.append(
            f"{counted(state.infeasible, 'point')} of the space could not be built or exceeded a "
            "limit, and were replaced."
        )
    notes += [f"{line[0].upper()}{line[1:]}." for line in front_lines(state)]
    if (meaning := spread_words(state)) is not None:
        notes.append(f"{meaning}.")
    return notes


def _of_model(best: Trial) -> RunResult:
    """The result of the training that made the winner's model, once there was one."""
    result = best.model_result or best.result
    assert result is not None  # ranked trials have a result
    return result


def _winner(state: SweepState, best: Trial) -> dict[str, object]:
    assert best.result is not None  # ranked trials have a result
    result, reached = _of_model(best), best.result.last_epoch
    facts = [(path, plain(value)) for path, value in best.overrides.items()]
    facts += [
        ("model.parameters", f"{result.parameters:,}"),
        *((name, metric_cells(best, [name])[0]) for name in also_shown(state, ())),
        ("best epoch", f"{best.result.best_epoch} of {reached}"),
        ("test_loss", f"{result.test_loss:.4f}"),
        ("training seconds", f"{result.train_seconds:.1f}"),
    ]
    looks = [look for look in state.official if look.trial == best.number]
    if looks:
        last = looks[-1]
        facts.append(
            (
                "official test",
                f"{last.accuracy:.4f} on {last.images:,} images, loss {last.loss:.4f}",
            )
        )
    if best.result.folds:
        of_folds = f"{best.result.test_accuracy:.4f} ± {best.result.spread('test_accuracy'):.4f}"
        facts.append((f"test_accuracy over {len(best.result.folds)} folds", of_folds))
    return {"trial": best.number, "facts": facts}


def _data(data: DataMaterial) -> list[tuple[str, str]]:
    height, width, channels = data.samples.shape[2:]
    images = ", ".join(f"{name} {int(counts.sum()):,}" for name, counts in data.counts.items())
    return [
        ("read from", data.source),
        ("images", images),
        ("shape", " by ".join(map(str, (height, width, *((channels,) if channels > 1 else ()))))),
        ("classes", ", ".join(f"{c} {name}" for c, name in enumerate(data.class_names))),
    ]


def _place(environment: Environment) -> list[tuple[str, str]]:
    numerics = environment.numerics
    versions: Mapping[str, str] = {**numerics.versions, **environment.packages}
    commit = environment.git_commit
    return [
        ("command", environment.command),
        ("processor", ", ".join([numerics.cpu, *numerics.accelerators])),
        ("threads", str(numerics.threads)),
        ("platform", environment.platform),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        *([("settings", ", ".join(f"{k}={v}" for k, v in numerics.settings.items()))]
          if numerics.settings else []),
        *([("git", commit + (", with uncommitted changes" if environment.git_changed else ""))]
          if commit else []),
    ]  # fmt: skip


def _digests(source: ReportSource) -> list[tuple[str, str]]:
    identity, best = source.begun.identity, source.state.best
    found = [("data.sha256", identity["data"]), ("split.sha256", identity["split"])]
    if best is not None and best.result is not None:
        found += [
            ("weights.sha256", _of_model(best).weights_sha256),
            ("best_weights.sha256", _of_model(best).best_weights_sha256),
        ]
    return found
