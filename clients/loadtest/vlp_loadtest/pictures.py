"""Pictures for load: drawn, and as many different files as are wanted without drawing each of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw

from vlp_loadtest.skew import Skewed

SIDE = 384
_THINGS = 6
_DRAWN = 24
_START = b"\xff\xd8"
_APP0 = b"\xff\xe0"


def drawn_picture(chance: random.Random, side: int = SIDE) -> bytes:
    """A JPEG of `side` x `side` pixels with a few coloured shapes on a coloured ground."""
    image = Image.new("RGB", (side, side), _colour(chance))
    pen = ImageDraw.Draw(image)
    for _ in range(_THINGS):
        width, height = chance.randint(side // 8, side // 3), chance.randint(side // 8, side // 3)
        left, top = chance.randint(0, side - width), chance.randint(0, side - height)
        draw = chance.choice((pen.ellipse, pen.rectangle))
        draw((left, top, left + width, top + height), fill=_colour(chance))
    return _encode(image)


def as_jpeg(content: bytes) -> bytes:
    """Any picture as a JPEG, as it is where it is one.

    Raises:
        OSError: it cannot be read.
    """
    if content.startswith(_START):
        return content
    with Image.open(BytesIO(content)) as image:
        return _encode(image.convert("RGB"))


def marked(jpeg: bytes, mark: str) -> bytes:
    """The same picture as another file: with a comment in it. Caches go by content, so none knows it."""
    text = mark.encode()
    # Behind the first segment where that is JFIF's, which has to be the first one.
    at = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == _APP0 else 2
    return jpeg[:at] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[at:]


class Pictures:
    """An endless supply of pictures.

    Args:
        chance: draws them; the same one draws the same ones.
        count: how many different ones there are; 0 makes every one new, so that no cache answers in a model's place.
        skew: how unequally the `count` are asked for; see `vlp_loadtest.skew`.
        side: of drawn ones, in pixels.
        originals: JPEGs to take in place of drawn ones.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        count: int = 0,
        skew: float = 1.0,
        side: int = SIDE,
        originals: Sequence[bytes] = (),
    ) -> None:
        self._chance = chance
        self._originals = tuple(originals) or tuple(drawn_picture(chance, side) for _ in range(_DRAWN))
        self._skewed = Skewed(count, skew) if count else None
        # Another run's pictures are others, unless its chance is the same.
        self._run = f"{chance.getrandbits(64):016x}"
        self._made = 0

    def next(self) -> bytes:
        """A JPEG."""
        if self._skewed is None:
            number, self._made = self._made, self._made + 1
        else:
            number = self._skewed.draw(self._chance)
        return marked(self._originals[number % len(self._originals)], f"{self._run}-{number}")


def _encode(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "JPEG", quality=85)
    return data.getvalue()


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)
