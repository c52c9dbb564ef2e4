"""Which sizes the sets of a split may have, and refusals that name those that would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist_sweep.errors import ConfigError


@dataclass(frozen=True)
class Size:
    """A set's size: the config's key, what is given there, and how many images that is."""

    key: str
    given: float
    images: int

    def __str__(self) -> str:
        rounded = "" if self.given == self.images else f" ({self.images} images)"
        return f"{self.key}={self.given}{rounded}"


@dataclass(frozen=True)
class Room:
    """What the sets of a split may take: each a multiple of `step`, of `classes` images or more,
    all of them together at most `most`. `why`: the reason for `most`; `needed`: what the data would
    have to be if no size would do."""

    classes: int
    step: int
    most: int
    why: str
    needed: str


def balanced_room(counts: Sequence[tuple[str, int]], sets: int, *, trains: bool = True) -> Room:
    """Return what `sets` balanced sets may take of classes with these names and numbers of images.
    `trains`: whether an image of any class has to be left for training."""
    classes, total = len(counts), sum(number for _, number in counts)
    name, fewest = min(counts, key=lambda count: count[1], default=("", 0))
    share, why = fewest, f"class {name} has only {fewest} of the training images"
    if not counts:
        why = "there are no classes"
    elif trains and classes * fewest == total > 0:
        share, why = fewest - 1, f"{total} is the number of all training images"
    needed = f"at least {sets + trains} images of each class"
    return Room(classes, max(classes, 1), classes * share, why, needed)


def stratified_room(counts: Sequence[tuple[str, int]], sets: int, kept: int = 1) -> Room:
    """Return what `sets` stratified sets may take, where each takes one or more of each class, and
    leaves `kept` of each."""
    classes, total = len(counts), sum(number for _, number in counts)
    name, fewest = min(counts, key=lambda count: count[1])
    needed = f"at least {sets + kept} images of each class"
    if fewest < sets + kept:
        return Room(classes, 1, 0, f"class {name} has only {fewest} of the training images", needed)
    left = f"at least {kept} of each class {'is' if kept == 1 else 'are'} left"
    why = f"of {total} training images of {classes} classes {left}"
    return Room(classes, 1, total - kept * classes, why, needed)


def check_sizes(sizes: Sequence[Size], room: Room) -> None:
    """Refuse sizes that are not possible together.

    Raises:
        ConfigError: names the keys, why, and the sizes that would do: of the one that is impossible
            beside the other, or of both.
    """
    largest = room.most - room.classes * (len(sizes) - 1)  # beside others that are as small as can
    impossible = [size for size in sizes if _fault(size, room) or size.images > largest]
    used = sum(size.images for size in sizes)
    if not impossible and used <= room.most:
        return
    if room.classes == 0 or largest < room.classes:
        given = " ".join(map(str, sizes))
        raise ConfigError(f"{given}: {room.why}; needed: {room.needed}")
    if len(impossible) == len(sizes) > 1:
        reasons = " and ".join(str(size) for size in sizes)
        fault = next(filter(None, (_fault(size, room) for size in sizes)), room.why)
        share = room.most // room.step // len(sizes) * room.step
        first, *others = (size.key for size in sizes)
        such = " ".join([f"{first}={room.most - share}", *(f"{key}={share}" for key in others)])
        multiples = "" if room.step == 1 else f"multiples of {room.step}, "
        raise ConfigError(
            f"{reasons}: {fault}; allowed: {multiples}together at most {room.most}, such as {such}"
        )
    # The one that is impossible; of two that are only together, the one that is drawn last.
    wrong = impossible[0] if impossible else sizes[-1]
    others_images = used - wrong.images
    beside = "".join(f" with {size}" for size in sizes if size is not wrong)
    fault = _fault(wrong, room) or room.why
    raise ConfigError(
        f"{wrong}{beside}: {fault}; allowed: {_range(room, room.most - others_images)}"
    )


def _fault(size: Size, room: Room) -> str | None:
    """What is wrong with a size however large the classes are."""
    if size.images < room.classes:
        return f"that is less than one of each of the {room.classes} classes"
    if size.images % room.step:
        return f"{size.images} is not divisible by the {room.classes} classes"
    return None


def _range(room: Room, most: int) -> str:
    if most == room.classes:
        return str(most)
    if room.step == 1:
        return f"{room.classes} to {most}"
    return f"multiples of {room.step} up to {most}"
