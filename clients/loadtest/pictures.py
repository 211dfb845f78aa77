"""Pictures for the load test: drawn, each unlike any other, so that no cache answers in the place of a model."""

from __future__ import annotations

import random
from io import BytesIO

from PIL import Image, ImageDraw

SIDE = 384
_THINGS = 6


def drawn_picture(chance: random.Random, side: int = SIDE) -> bytes:
    """A JPEG of `side` x `side` pixels with a few coloured shapes on a coloured ground."""
    image = Image.new("RGB", (side, side), _colour(chance))
    pen = ImageDraw.Draw(image)
    for _ in range(_THINGS):
        width, height = chance.randint(side // 8, side // 3), chance.randint(side // 8, side // 3)
        left, top = chance.randint(0, side - width), chance.randint(0, side - height)
        draw = chance.choice((pen.ellipse, pen.rectangle))
        draw((left, top, left + width, top + height), fill=_colour(chance))
    data = BytesIO()
    image.save(data, "JPEG", quality=85)
    return data.getvalue()


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)
