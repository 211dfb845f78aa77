"""Paint a scene: a background, the things in their colours, then the noise of a real picture.

Source of the sprites: Noto Color Emoji (SIL OFL 1.1, see SPRITES-LICENSE.txt), rendered by `make_sheet`.
"""

from __future__ import annotations

import io
import math
import random
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlp_models.scenes.kinds import COLOURS, KINDS
from vlp_models.scenes.make_sheet import COLUMNS, SPRITE_PX
from vlp_models.scenes.world import Cover, Scene, Thing, box_around

_INDEX = {kind.name: index for index, kind in enumerate(KINDS)}


@lru_cache(maxsize=1)
def _sheet() -> Image.Image:
    with Image.open(Path(__file__).with_name("sprites.png")) as sheet:
        return sheet.convert("LA")


@lru_cache(maxsize=len(KINDS) * len(COLOURS))
def tinted_sprite(kind: str, colour: str) -> Image.Image:
    """The sprite of `kind` painted in `colour`, RGBA of SPRITE_PX.

    Dark parts darken the colour (to 0.3 at the least, so that the hue stays visible), light parts whiten it.
    """
    row, column = divmod(_INDEX[kind], COLUMNS)
    left, top = column * SPRITE_PX, row * SPRITE_PX
    pixels = np.asarray(_sheet().crop((left, top, left + SPRITE_PX, top + SPRITE_PX)), dtype=np.float32)
    light, alpha = pixels[..., :1] / 255, pixels[..., 1:]
    tint = np.asarray(COLOURS[colour], dtype=np.float32)
    dark = tint * np.clip(0.3 + 0.7 * light / 0.6, 0, 1)
    pale = np.clip((light - 0.6) / 0.4, 0, 1) * 0.55
    painted = dark * (1 - pale) + 255 * pale
    return Image.fromarray(np.concatenate([painted, alpha], axis=-1).round().astype(np.uint8), mode="RGBA")


def paint(scene: Scene, rng: random.Random) -> Image.Image:
    """The scene as an RGB picture of its own size."""
    noise = np.random.default_rng(rng.getrandbits(64))
    canvas = Image.fromarray(_background(scene.width, scene.height, noise))
    for thing in scene.things:
        _paste(canvas, thing, rng)
    for cover in scene.covers:
        _lay(canvas, cover, rng)
    pixels = np.asarray(canvas, dtype=np.float32)
    gain, offset = np.float32(rng.uniform(0.85, 1.12)), np.float32(rng.uniform(-12, 12))
    grain = noise.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * np.float32(rng.uniform(0, 6))
    return Image.fromarray(np.clip(pixels * gain + (offset + grain), 0, 255).astype(np.uint8))


def encode_jpeg(picture: Image.Image, rng: random.Random) -> bytes:
    """JPEG bytes of a quality between 60 and 95."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=rng.randint(60, 95))
    return buffer.getvalue()


def _paste(canvas: Image.Image, thing: Thing, rng: random.Random) -> None:
    sprite = _shaded(tinted_sprite(thing.kind, thing.colour), rng)
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    sprite = sprite.resize((thing.side, thing.side), Image.Resampling.BILINEAR, reducing_gap=None)
    canvas.paste(sprite, thing.box[:2], sprite)


def _lay(canvas: Image.Image, cover: Cover, rng: random.Random) -> None:
    """A grey sheet with slanted folds; nothing else in the scenes is grey and square."""
    along = np.add.outer(np.arange(cover.side), np.arange(cover.side) * rng.choice((-1, 1)))
    folds = np.sin(2 * np.pi * along / rng.uniform(9, 13))
    shade = rng.uniform(95, 160) + 28 * folds
    sheet = Image.fromarray(np.repeat(shade.astype(np.uint8)[..., None], 3, axis=2))
    canvas.paste(sheet, box_around(cover)[:2])


def _shaded(sprite: Image.Image, rng: random.Random) -> Image.Image:
    """The sprite under a light of its own: every channel a little brighter or darker."""
    lights = np.array([rng.uniform(0.82, 1.15) for _ in range(3)] + [1.0])  # alpha stays
    table = np.minimum(np.rint(np.outer(lights, np.arange(256))), 255).astype(int)
    return sprite.point(table.ravel().tolist())


def _background(width: int, height: int, noise: np.random.Generator) -> NDArray[np.uint8]:
    """One of six textures between two muted colours."""
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    first, second = (_muted(noise) for _ in range(2))
    second = first + (second - first) * np.float32(noise.uniform(0.2, 1.0))
    period = float(noise.integers(16, 72))
    angle = float(noise.uniform(0, np.pi))
    along = rows * math.sin(angle) + columns * math.cos(angle)
    texture = int(noise.integers(6))
    if texture == 0:
        weight = np.zeros_like(along)
    elif texture == 1:
        weight = (along - along.min()) / (np.ptp(along) + 1)
    elif texture == 2:
        weight = ((rows // period + columns // period) % 2).astype(np.float32)
    elif texture == 3:
        weight = (along % period > period / 2).astype(np.float32)
    elif texture == 4:
        weight = ((rows % period - period / 2) ** 2 + (columns % period - period / 2) ** 2 < (period / 4) ** 2).astype(
            np.float32
        )
    else:
        weight = _clouds(width, height, noise)
    return np.clip(first + (second - first) * weight[..., None], 0, 255).astype(np.uint8)


def _muted(noise: np.random.Generator) -> NDArray[np.float32]:
    """A colour of low saturation, from dark to bright."""
    grey = noise.uniform(60, 235)
    colour: NDArray[np.float32] = (grey + noise.uniform(-22, 22, size=3)).astype(np.float32)
    return colour


def _clouds(width: int, height: int, noise: np.random.Generator) -> NDArray[np.float32]:
    coarse = Image.fromarray(noise.integers(0, 256, size=(6, 6), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) / np.float32(255)
