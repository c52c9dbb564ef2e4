"""The identity of a sweep or a single training, and the name derived from it.

It does not include budgets, tracking, executor and display, which may change between a start and a
resume. It includes everything that determines which points are tried and their scores: also
`train.threads`, a worker's share of the cores if left to the executor, and what a user's builder
refers to.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, get_args

from fmnist_sweep.config.metrics import COSTS, metric_of, metrics_of_your_own
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.upgrade import without_additions
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json, digest_of
from fmnist_sweep.journal.reached import reached_by
from fmnist_sweep.journal.reached_code import full_name
from fmnist_sweep.space.domains import Domain
from fmnist_sweep.space.space import Condition, Leaf, Space

_NAME_DIGITS, _TRAINING_DIGITS = 6, 16


def sweep_identity(
    config: Config,
    space: Space,
    data_sha256: str,
    split_sha256: str,
    build_model: Callable[..., Any] | None,
) -> dict[str, Any]:
    """Return the identity, as plain values under the names that the config uses. Keys that were
    added to the config are left out while they have the value that means what was before."""
    identity = {
        "space": {leaf.path: _plain(leaf) for leaf in space.leaves},
        "space_order": [leaf.path for leaf in space.leaves],  # affects what is drawn
        "variants": {name: dict(given) for name, given in space.variants.items()},
        "model": config.model.as_given(),
        "train": config.train.model_dump(),
        "tuner": config.tuner.model_dump(),
        "scheduler": config.scheduler.model_dump(),
        "objective": config.sweep.objective.model_dump(),
        "start_with": config.sweep.start_with,
        "max_parameters": config.sweep.max_parameters,
        "max_mflops": config.sweep.max_mflops,
        "build_model": None if build_model is None else code_of(build_model),
        "data": data_sha256,
        "split": split_sha256,
    }
    if config.sweep.learn_from:
        identity["learn_from"] = config.sweep.learn_from
    if config.sweep.objectives is not None:
        identity["objectives"] = [each.model_dump() for each in config.sweep.objectives]
    if (code := _code_of_metric(config.sweep.objective.metric)) is not None:
        identity["metric"] = code
    for objective in config.sweep.further_objectives:
        if (code := _code_of_metric(objective.metric)) is not None:
            identity[f"metric {objective.metric}"] = code
    return without_additions(identity)


def training_identity(
    config: RunConfig, data_sha256: str, split_sha256: str, origin: Mapping[str, str]
) -> dict[str, Any]:
    """Return the identity of a single training; `origin` has the tag that names the file that its
    config comes from, if any."""
    identity = {
        "origin": dict(origin),
        "model": config.model.as_given(),
        "train": config.train.model_dump(),
        "build_model": None,
        "data": data_sha256,
        "split": split_sha256,
    }
    return without_additions(identity)


def _code_of_metric(name: str) -> dict[str, Any] | None:
    """Return what identifies a metric of the user's own; None for the package's, and for costs."""
    if name in COSTS or (metric := metric_of(name)) not in metrics_of_your_own():
        return None
    return code_of(metric.function)


def space_of(identity: Mapping[str, Any]) -> Space:
    """Return the space of an identity, as it was searched, without pinned leaves."""
    leaves = [_leaf(path, identity["space"][path]) for path in identity["space_order"]]
    return Space(tuple(leaves), identity["variants"])


def search_words(identity: Mapping[str, Any]) -> str:
    """Name tuner and scheduler, such as `tuner random` or `tuner random, scheduler asha`."""
    words = f"tuner {identity['tuner']['name']}"
    scheduler = identity.get("scheduler")
    return words if scheduler is None else f"{words}, scheduler {scheduler['name']}"


def training_name(label: str, identity: Mapping[str, Any]) -> str:
    """Return `<label>-<digits of the identity>`, so many that the name stands for the identity."""
    return f"{label}-{digest_of(identity)[:_TRAINING_DIGITS]}"


def sweep_name(config: Config, label: str, identity: Mapping[str, Any]) -> str:
    """Return the configured name, or `<label>-<digits of the identity>`."""
    if config.sweep.name is not None:
        return config.sweep.name
    return f"{label}-{digest_of(identity)[:_NAME_DIGITS]}"


def check_same_sweep(name: str, recorded: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Reject resuming a sweep with another identity.

    Raises:
        ConfigError: names the keys that differ and both values.
    """
    differences = list(_differences(recorded, identity, ""))
    if differences:
        raise ConfigError(
            f"sweep.name={name} belongs to another sweep: {'; '.join(differences[:4])}"
            + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
            + ". Use another name, or the config that it was started with"
        )


def before_reached(
    identity: Mapping[str, Any], build_model: Callable[..., Any] | None
) -> dict[str, Any]:
    """Return an identity in the form before it included what a builder refers to: with a digest of
    the builder's own source."""
    if build_model is None:
        return dict(identity)
    code = build_model if hasattr(build_model, "__qualname__") else type(build_model)
    try:
        sha256 = digest_of(inspect.getsource(code))
    except (OSError, TypeError):  # no source, such as at a prompt
        sha256 = ""
    return {**identity, "build_model": {"name": full_name(code), "sha256": sha256}}


def is_of_form(recorded: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether two identities contain the same kind of information about a builder."""
    builders = recorded["build_model"] or {}, identity["build_model"] or {}
    return builders[0].keys() == builders[1].keys()


def how_it_differs(recorded: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """Describe how a recorded sweep of the same config differs: in the data's content, the threads
    or the builder's code. None if the config differs, or nothing does."""
    if canonical_json(_config_of(recorded)) != canonical_json(_config_of(identity)):
        return None
    threads = recorded["train"]["threads"], identity["train"]["threads"]
    of_data = recorded["data"] != identity["data"]
    if recorded["split"] != identity["split"] and not of_data:
        return None
    differ = ["other data: its content has changed"] if of_data else []
    if recorded["build_model"] != identity["build_model"]:
        differ.append(_how_code_differs(recorded["build_model"], identity["build_model"]))
    if threads[0] != threads[1]:
        advice = "" if differ else f" (add train.threads={threads[0]} to resume it)"
        differ.append(f"train.threads={threads[0]}, here {threads[1]}{advice}")
    return " and ".join(differ) or None


def _config_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity without what may change for the same config and builder."""
    found = {key: value for key, value in identity.items() if key not in ("data", "split")}
    found["train"] = {**found["train"], "threads": None}
    found["build_model"] = (found["build_model"] or {}).get("name")
    return found


def _how_code_differs(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if recorded.get("python") != now.get("python"):
        return f"a build_model compiled by Python {recorded.get('python')}, here {now['python']}"
    was, reached = recorded.get("reaches", {}), now.get("reaches", {})
    changed = [name for name, _ in sorted(was.items() ^ reached.items())]
    names = list(dict.fromkeys(changed)) or [now["name"]]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"another build_model: {', '.join(names[:4])}{more} changed"


def _plain(leaf: Leaf) -> dict[str, Any]:
    when = [[condition.path, list(condition.values)] for condition in leaf.conditions]
    return {type(leaf.domain).__name__: asdict(leaf.domain), "when": when}


def _leaf(path: str, plain: Mapping[str, Any]) -> Leaf:
    (kind,) = plain.keys() - {"when"}
    fields = {
        name: tuple(value) if name == "values" else value for name, value in plain[kind].items()
    }
    domain = {known.__name__: known for known in get_args(Domain)}[kind](**fields)
    when = tuple(Condition(parent, tuple(values)) for parent, values in plain["when"])
    return Leaf(path, domain, when, path)


def _differences(recorded: Any, now: Any, path: str) -> list[str]:
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        found = []
        for key in sorted({*recorded, *now}):
            found += _differences(
                recorded.get(key, "absent"), now.get(key, "absent"), f"{path}{key}."
            )
        return found
    if canonical_json(recorded) == canonical_json(now):
        return []
    return [f"{path.rstrip('.')} was {_short(recorded)}, is {_short(now)}"]


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def code_of(build_model: Callable[..., Any]) -> dict[str, Any]:
    """Return what identifies the user's code."""
    named = build_model if hasattr(build_model, "__qualname__") else type(build_model)
    return {
        "name": full_name(named),
        "python": ".".join(map(str, sys.version_info[:2])),  # bytecode depends on the version
        "reaches": reached_by(build_model),
    }
