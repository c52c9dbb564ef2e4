"""Draws a small folder of pictures, to try one's own data with: `make own`.

`python docs/draw_pictures.py [FOLDER]`: discs, rings and stars in colour, 40 by 40 pixels, in
`FOLDER/train/CLASS/` (90 of each) and `FOLDER/test/CLASS/` (20 of each); by default in `shapes`.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 40
COUNTS = {"train": 90, "test": 20}
Draw = Callable[[ImageDraw.ImageDraw, float, float, float, str], None]


def main(arguments: list[str]) -> None:
    """Draw all pictures; stops if the folder exists."""
    folder = Path(arguments[0] if arguments else "shapes")
    if folder.exists():
        sys.exit(f"draw_pictures: {folder} exists already; remove it, or name another folder")
    chance = random.Random(1)
    for part, count in COUNTS.items():
        for name, draw in SHAPES.items():
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                picture(draw, chance).save(folder / part / name / f"{number:02}.png")
    sys.stdout.write(
        f"{folder}/: {sum(COUNTS.values()) * len(SHAPES)} pictures in {len(SHAPES)} classes\n"
    )


def picture(draw: Draw, chance: random.Random) -> Image.Image:
    """Return a picture of one shape, of random place, size and colour, on a dark ground."""
    ground = Image.new("RGB", (SIDE, SIDE), f"hsl({chance.randrange(360)}, 30%, 10%)")
    x, y = (chance.uniform(15, SIDE - 15) for _ in "xy")
    colour = f"hsl({chance.randrange(360)}, 80%, {chance.randrange(50, 90)}%)"
    draw(ImageDraw.Draw(ground), x, y, chance.uniform(8, 14), colour)
    return ground


def disc(on: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: str) -> None:
    """Draw a filled circle."""
    on.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def ring(on: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: str) -> None:
    """Draw a circle with a hole."""
    on.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=4)


def star(on: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: str) -> None:
    """Draw a star of five points."""
    corners = []
    for number in range(10):
        length = radius if number % 2 == 0 else radius * 0.4
        angle = math.pi * number / 5
        corners.append((x + length * math.sin(angle), y - length * math.cos(angle)))
    on.polygon(corners, fill=colour)


SHAPES: dict[str, Draw] = {"disc": disc, "ring": ring, "star": star}

if __name__ == "__main__":
    main(sys.argv[1:])
