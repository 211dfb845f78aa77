"""Scenes as data: which things lie where, drawn at random under the composition rules of a split.

Two kinds of composition are split. A *look* is a (kind, colour, size) triple; a *meeting* is two different
(kind, colour) pairs in one picture. Training pictures hold training looks and training meetings alone. In a picture of
the test split every meeting is one that no training picture has, and at least one thing has a look that no training
picture has; likewise for validation. No (kind, colour) pair is held back as a whole: a model could then learn from
colour alone which kinds a thing cannot be, and would be wrong on every test picture.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from vlp_models.scenes.kinds import COLOURS, KINDS, SIZES

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Pair = tuple[str, str]

CELL_PX = 64
GRIDS = ((4, 4), (4, 4), (5, 4), (4, 5), (6, 4), (4, 6))  # columns, rows; the shorter side is always 4 cells
SIZE_PX = {"small": (36, 42), "large": (54, 62)}
_CLEAR_PX = 48  # two things are beside each other, or one above the other, from this distance on

_COLOUR_NAMES = tuple(COLOURS)


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in a scene; `x`, `y` are its centre and `side` its extent in pixels of the picture."""

    kind: str
    colour: str
    size: str
    x: int
    y: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in pixels."""
        return box_around(self)


@dataclass(frozen=True, slots=True)
class Cover:
    """A sheet over one place, under which there may be one thing, of any kind, or none; fields as of `Thing`."""

    x: int
    y: int
    side: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Things on a canvas of `width` x `height` pixels, in reading order, and what hides a place from sight."""

    width: int
    height: int
    things: tuple[Thing, ...]
    covers: tuple[Cover, ...] = ()


def box_around(placed: Thing | Cover) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in pixels."""
    half = placed.side // 2
    return (placed.x - half, placed.y - half, placed.x + half, placed.y + half)


PAIRS: tuple[Pair, ...] = tuple((kind.name, colour) for kind in KINDS for colour in _COLOUR_NAMES)


def look_split(kind: str, colour: str, size: str) -> Split:
    """The split that a look belongs to: one in sixteen to test, one in sixteen to validation."""
    return ("test", "val", "train")[min(_hash(kind, colour, size) % 16, 2)]  # type: ignore[return-value]


def meeting_split(a: Pair, b: Pair) -> Split:
    """The split that a meeting of two pairs belongs to: a quarter to test, an eighth to validation."""
    bucket = _hash(*(" ".join(pair) for pair in sorted((a, b)))) % 8
    return "test" if bucket < 2 else "val" if bucket == 2 else "train"


@lru_cache(maxsize=len(PAIRS) * len(SPLITS))
def sizes_of(pair: Pair, split: Split) -> tuple[str, ...]:
    """The sizes in which a pair may be shown in `split`: training looks, and the split's own."""
    return tuple(size for size in SIZES if look_split(*pair, size) in ("train", split))


@lru_cache(maxsize=len(PAIRS) * len(SPLITS))
def _company(pair: Pair, split: Split) -> frozenset[Pair]:
    """The pairs that `pair` may meet in a picture of `split`."""
    return frozenset(
        other for other in PAIRS if other != pair and meeting_split(pair, other) == split and sizes_of(other, split)
    )


@lru_cache(maxsize=len(SPLITS))
def held_back_looks(split: Split) -> tuple[tuple[Pair, str], ...]:
    """(pair, size) of every look of `split`."""
    return tuple((pair, size) for pair in PAIRS for size in SIZES if look_split(*pair, size) == split)


def _hash(*words: str) -> int:
    return zlib.crc32(" ".join(words).encode())


def left_of(a: Thing, b: Thing) -> bool:
    """Whether `a` lies clearly to the left of `b`."""
    return b.x - a.x >= _CLEAR_PX


def above(a: Thing, b: Thing) -> bool:
    """Whether `a` lies clearly above `b`."""
    return b.y - a.y >= _CLEAR_PX


class World:
    """Draws scenes of one split."""

    def __init__(self, split: Split) -> None:
        self.split: Split = split

    def draw(self, rng: random.Random) -> Scene:
        """A scene of one to eight things: a few pairs, each present once or several times."""
        grid = rng.choice(GRIDS)
        return self.draw_of(self.pick_pairs(rng), grid, rng)

    def draw_of(self, pairs: Sequence[Pair], grid: tuple[int, int], rng: random.Random) -> Scene:
        """A scene of given pairs on a grid of columns and rows; at least the first pair is in it."""
        columns, rows = grid
        members: list[tuple[Pair, str]] = []
        for pair in pairs:
            copies = rng.choices((1, 2, 3, 4, 5), weights=(12, 4, 3, 2, 2))[0]
            members += [(pair, rng.choice(sizes_of(pair, self.split))) for _ in range(copies)]
        if self.split != "train":
            first = members[0][0]
            own = [size for size in sizes_of(first, self.split) if look_split(*first, size) == self.split]
            members[0] = (first, rng.choice(own))
        members = members[:8]
        cells = rng.sample([(column, row) for row in range(rows) for column in range(columns)], len(members))
        cells.sort(key=lambda cell: (cell[1], cell[0]))
        rng.shuffle(members)
        canvas = (columns * CELL_PX, rows * CELL_PX)
        things = tuple(self._place(*member, cell, canvas, rng) for member, cell in zip(members, cells, strict=True))
        return Scene(*canvas, things)

    def pick_pairs(self, rng: random.Random) -> list[Pair]:
        """Pairs of a scene; often two share a kind or a colour, so that one word does not tell things apart."""
        if self.split == "train":
            wanted = rng.choices((1, 2, 3, 4, 5), weights=(1, 4, 5, 4, 2))[0]
            chosen = [rng.choice([pair for pair in PAIRS if sizes_of(pair, self.split)])]
        else:
            wanted = rng.choices((2, 3, 4, 5), weights=(4, 5, 4, 2))[0]
            chosen = [rng.choice(held_back_looks(self.split))[0]]
        while len(chosen) < wanted:
            company = frozenset.intersection(*(_company(pair, self.split) for pair in chosen))
            if not company:
                break
            fitting = [pair for pair in PAIRS if pair in company]
            anchor, kinship = rng.choice(chosen), rng.random()
            kin = [
                pair
                for pair in fitting
                if (kinship < 0.25 and pair[1] == anchor[1]) or (0.25 <= kinship < 0.4 and pair[0] == anchor[0])
            ]
            chosen.append(rng.choice(kin or fitting))
        return chosen

    @staticmethod
    def _place(pair: Pair, size: str, cell: tuple[int, int], canvas: tuple[int, int], rng: random.Random) -> Thing:
        side = rng.randint(*SIZE_PX[size])
        slack = max((CELL_PX - side) // 2, 0) + 3  # things may lean a little over the edge of their cell
        centre = [
            min(max(index * CELL_PX + CELL_PX // 2 + rng.randint(-slack, slack), side // 2), extent - side // 2)
            for index, extent in zip(cell, canvas, strict=True)
        ]
        return Thing(pair[0], pair[1], size, centre[0], centre[1], side)
