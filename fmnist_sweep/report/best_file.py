"""The winner as a plain config: `experiments/best/<name>.yaml`, ready for `+best=<name>`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.yaml_text import to_yaml
from fmnist_sweep.files import digest_of, write_text_whole
from fmnist_sweep.provenance import command, cpu_model, versions
from fmnist_sweep.search.state import SweepState, Trial
from fmnist_sweep.space.overrides import apply_overrides


def best_config(config: Config, trial: Trial) -> RunConfig:
    """Return a trial as one straight training: the base config, its overrides, and where it
    ended (`train.stop_epoch`) if that is before the schedule's horizon."""
    chosen = apply_overrides(config.run, trial.overrides)
    horizon = chosen.train.epochs
    if horizon is None or trial.last_epoch == horizon:
        return chosen
    train = chosen.train.model_copy(update={"stop_epoch": trial.last_epoch})
    return chosen.model_copy(update={"train": train})


def write_best_file(
    folder: Path, name: str, config: Config, state: SweepState, trial: Trial
) -> Path:
    """Write the winner into `folder`, and return its file.

    That is `<name>.yaml`; where this holds another config already, which is never overwritten, it
    is `<name>-<digits of the config>.yaml`. A file with this very config is left as it is.
    """
    chosen = best_config(config, trial)
    values: dict[str, Any] = {
        "defaults": [
            {"override /data": chosen.data.source},
            {"override /split": chosen.split.scheme},
        ],
        **chosen.as_given(),
    }
    path = folder / f"{name}.yaml"
    if path.exists() and OmegaConf.load(path) != OmegaConf.create(values):
        path = folder / f"{name}-{digest_of(values)[:6]}.yaml"
    if not path.exists():
        lines = _header(path.stem, config, state, trial)
        header = "\n".join(f"# {line}".rstrip() for line in lines)
        write_text_whole(path, f"# @package _global_\n{header}\n{to_yaml(values)}")
    return path


def _header(stem: str, config: Config, state: SweepState, trial: Trial) -> list[str]:
    result, metric = trial.result, config.sweep.objective.metric
    assert result is not None  # a winner was trained
    assert state.begun is not None
    lines = [
        f"The winner of sweep {state.begun.name}: trial {trial.number} of {len(state.trials)}.",
        "",
        f"Run it:    {command((f'+best={stem}',))}",
        f"Sweep:     {state.begun.command}",
        f"Hardware:  {cpu_model()}, {config.train.threads} threads",
        f"Versions:  {', '.join(f'{k} {v}' for k, v in versions().items())}",
        f"Result:    {metric} {trial.score:.4f} at epoch {result.best_epoch}, "
        f"test_accuracy {result.test_accuracy:.4f} (n = 1 seed), "
        f"{result.parameters:,} parameters, {result.train_seconds:.0f} s of training",
    ]
    confirmed = trial.confirmed_score
    if confirmed is not None:
        lines.append(
            f"           {metric} {confirmed[0]:.4f} ± {confirmed[1]:.4f} over "
            f"{len(trial.confirmations)} fresh seeds"
        )
    looks = [look for look in state.official if look.trial == trial.number]
    if looks:
        lines.append(
            f"           official_test_accuracy {looks[-1].accuracy:.4f} on "
            f"{looks[-1].images:,} images, look {len(state.official)} of this sweep"
        )
    identity = state.begun.identity
    return [
        *lines,
        f"Digests:   data {identity['data'][:16]}, split {identity['split'][:16]}, "
        f"best weights {result.best_weights_sha256[:16]}",
        "",
    ]
