"""A sweep's winner in MLflow's model registry, and whether it is the champion there."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import RunError
from fmnist_sweep.files import digest_of
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.provenance import serving_requirements
from fmnist_sweep.sweep.best_models import best_model_files
from fmnist_sweep.tracking.opening import open_registry
from fmnist_sweep.tracking.registered import (
    CLASSES_TAG,
    FIT_TAG,
    WEIGHTS_TAG,
    Version,
    Winner,
    model_name,
)
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.preparation import Prepared
from fmnist_sweep.training.rung import evaluate_saved, load_saved
from fmnist_sweep.training.saved_code import foreign_code
from fmnist_sweep.workspace import Workspace

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry

_ACCURACY, _SPLIT, _DATA = "test_accuracy", "split.sha256", "data.sha256"


@dataclass(frozen=True)
class Registration:
    """Where a winner stands in the registry; `why` says, in words, why it is the champion or is
    not; `is_renamed`: it was registered before, under other names of its classes."""

    version: Version
    is_champion: bool
    why: str
    is_renamed: bool = False


def register_winner(
    config: Config, state: SweepState, prepared: Prepared, folder: Path, run_id: str | None
) -> Registration | None:
    """Register a sweep's winner, unless that was done, and make it the champion where its
    `test_accuracy` beats the present one's on the same test set.

    A winner whose classes have other names than when it was registered becomes a new version,
    which takes the old one's place as champion.

    A champion that was measured on another test set is measured on this one; what it was trained
    on may be among these images, which counts for it.

    Args:
        config: of the sweep.
        state: of the sweep.
        prepared: its data.
        folder: the sweep's.
        run_id: MLflow's id of the sweep's run.

    Returns:
        None where nothing is to be registered: no trial completed, or config and tracking do
        without; also, and the log is told why, where the winner's network cannot be loaded, or
        needs code of the user's, which is missing where the model is served.

    Raises:
        RunError: MLflow cannot.
    """
    best, wanted = state.best, config.tracking.registered_model
    if wanted is None or run_id is None or best is None or best.model_result is None:
        return None
    name = model_name(wanted, prepared.dataset.name)
    registry = open_registry(config.tracking, Workspace.here())
    version = registry.registered(name, run_id, best.model_result.best_weights_sha256)
    with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
        is_renamed = version is not None and version.tags.get(CLASSES_TAG) != digest_of(
            prepared.dataset.class_names
        )
        if version is None or is_renamed:
            network = _network(config, state, best, folder, Path(place))
            if network is None:
                return None
            version = registry.register(
                name, run_id, _winner(config, state, best, prepared, network)
            )
        crowned = _crowned(registry, version, prepared, Path(place))
        return replace(crowned, is_renamed=is_renamed)


def _network(
    config: Config, state: SweepState, best: Trial, folder: Path, place: Path
) -> Path | None:
    assert state.begun is not None  # there is a winner
    assert best.model_result is not None
    for path in best_model_files(config, state.begun, folder, best.number, place):
        try:
            load_saved(path, best.model_result.best_weights_sha256)
        except RunError as error:
            _log.warning("%s", error)
            continue
        code = foreign_code(path)
        if code is None:
            return path
        _log.warning("trial %d: not registered: only its own code loads %s", best.number, code)
        return None
    _log.warning("trial %d: not registered: its best model is unavailable", best.number)
    return None


def _winner(
    config: Config, state: SweepState, best: Trial, prepared: Prepared, network: Path
) -> Winner:
    assert state.begun is not None  # there is a winner
    assert best.model_result is not None
    dataset, result, sweep = prepared.dataset, best.model_result, state.begun.name
    official = [look for look in state.official if look.trial == best.number]
    tags = {
        WEIGHTS_TAG: result.best_weights_sha256,
        "sweep.name": sweep,
        "trial": str(best.number),
        _ACCURACY: repr(result.test_accuracy),
        _DATA: dataset.sha256,
        _SPLIT: prepared.split.sha256,
        CLASSES_TAG: digest_of(dataset.class_names),
        "model.parameters": str(result.parameters),
        **_how_pictures_were_fitted(config),
        **({"official_test_accuracy": repr(official[-1].accuracy)} if official else {}),
    }
    return Winner(
        network=network,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        example=dataset.images[prepared.split.train[0]],
        requirements=serving_requirements(),
        tags=tags,
        description=(
            f"The winner of sweep {sweep}: trial {best.number} of {len(state.trials)}. Takes "
            "images with pixels 0..255, gives the probability of each class."
        ),
    )


def _how_pictures_were_fitted(config: Config) -> dict[str, str]:
    """Return the tag that makes `predict` fit pictures as the training images were."""
    fit = getattr(config.data, "fit", "predict")
    return {} if fit == "predict" else {FIT_TAG: fit}


def _crowned(
    registry: MlflowRegistry, version: Version, prepared: Prepared, place: Path
) -> Registration:
    champion = registry.champion(version.name)
    ours = float(version.tags[_ACCURACY])
    if champion is None:
        registry.crown(version)
        return Registration(version, True, "the first one")
    if champion.number == version.number:
        return Registration(version, True, "it was that before")
    whose = f"version {champion.number}"
    if all(champion.tags.get(tag) == version.tags[tag] for tag in (WEIGHTS_TAG, "sweep.name")):
        registry.crown(version)
        return Registration(version, True, f"as {whose} was, under other names of its classes")
    has_other_names = champion.tags.get(CLASSES_TAG) != version.tags[CLASSES_TAG]
    if has_other_names and champion.tags.get(_DATA) != version.tags[_DATA]:
        return Registration(
            version, False, f"{whose} cannot be compared: it has other classes, or is no sweep's"
        )
    if all(champion.tags.get(tag) == version.tags[tag] for tag in (_DATA, _SPLIT)):
        theirs = float(champion.tags[_ACCURACY])
    else:
        try:
            theirs = _measured(registry, champion, prepared, place)
        except (RunError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            return Registration(version, False, f"{whose} cannot be compared: {reason}")
    compared = f"{ours:.4f} against {theirs:.4f} of {whose} on the same test set"
    if ours > theirs:
        registry.crown(version)
        return Registration(version, True, compared)
    if has_other_names:
        sweep = champion.tags["sweep.name"]
        compared += f"; it has other names for its classes until sweep {sweep} is run with these"
    return Registration(version, False, compared)


def _measured(
    registry: MlflowRegistry, champion: Version, prepared: Prepared, place: Path
) -> float:
    images = ImageSet(*prepared.split.test_set(prepared.dataset), prepared.dataset.classes)
    network = registry.network(champion, place / "champion")
    return evaluate_saved(network, images, champion.tags.get(WEIGHTS_TAG, ""))["accuracy"]
