"""Whether a sweep's networks are for as many classes as there are now."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.records import Asked, Record, Told
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.training.preparation import Prepared


def check_same_classes(
    name: str, records: Sequence[Record], config: Config, prepared: Prepared
) -> None:
    """Refuse to resume a sweep whose networks are for another number of classes.

    Where a class has no images, the names of the classes decide how many there are, and names are
    no part of a sweep's identity. The journal has no number of classes either, but the number of
    parameters of each network, from which it follows.

    Raises:
        ConfigError: the numbers differ.
    """
    trained = next((each for each in records if isinstance(each, Told) and each.result), None)
    if trained is None or trained.result is None:
        return
    asked = {each.trial: each for each in records if isinstance(each, Asked)}
    model = apply_overrides(config.run, asked[trained.trial].overrides).model

    def parameters(classes: int) -> int:
        return plan_cnn(model, prepared.dataset.image_shape, classes).parameters

    now, recorded = prepared.dataset.classes, trained.result.parameters
    if parameters(now) == recorded:
        return
    a_class = parameters(3) - parameters(2)
    then, rest = divmod(recorded - parameters(2), a_class)
    if rest == 0 and then + 2 > 0:  # else it is no matter of classes
        raise ConfigError(
            f"sweep {name}: its networks are for {then + 2} classes, and there are {now} now; name "
            f"{then + 2} in data.class_names, or take another sweep.name"
        )
