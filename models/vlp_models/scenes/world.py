"""Scenes as data: which things lie where, drawn at random under the composition rules of a split.

A composition is a (kind, colour) pair. Every kind keeps one colour for the validation split and one for the test
split; a scene of a split, and every sentence about it, uses the pairs of that split alone, so that no pair of the
test split was ever seen or spoken of in training.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from vlp_models.scenes.kinds import COLOURS, KINDS, SIZES

Split = Literal["train", "val", "test"]
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
        half = self.side // 2
        return (self.x - half, self.y - half, self.x + half, self.y + half)


@dataclass(frozen=True, slots=True)
class Scene:
    """Things on a canvas of `width` x `height` pixels, in reading order."""

    width: int
    height: int
    things: tuple[Thing, ...]


def held_out_colours(kind: str) -> tuple[str, str]:
    """The colours that `kind` has only in the validation split and only in the test split."""
    index = next(i for i, known in enumerate(KINDS) if known.name == kind)
    count = len(_COLOUR_NAMES)
    return _COLOUR_NAMES[(index * 3 + 1) % count], _COLOUR_NAMES[(index * 3 + 5) % count]


def pairs_of(split: Split) -> tuple[Pair, ...]:
    """All compositions that scenes and sentences of `split` may use."""
    pairs: list[Pair] = []
    for kind in KINDS:
        held_out = held_out_colours(kind.name)
        if split == "train":
            pairs += [(kind.name, colour) for colour in _COLOUR_NAMES if colour not in held_out]
        else:
            pairs.append((kind.name, held_out[("val", "test").index(split)]))
    return tuple(pairs)


def left_of(a: Thing, b: Thing) -> bool:
    """Whether `a` lies clearly to the left of `b`."""
    return b.x - a.x >= _CLEAR_PX


def above(a: Thing, b: Thing) -> bool:
    """Whether `a` lies clearly above `b`."""
    return b.y - a.y >= _CLEAR_PX


class World:
    """Draws scenes of one split."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.pairs = pairs_of(split)

    def draw(self, rng: random.Random) -> Scene:
        """A scene of one to eight things: a few kinds, each present once or several times."""
        columns, rows = rng.choice(GRIDS)
        groups = rng.choices((1, 2, 3, 4, 5), weights=(1, 4, 5, 4, 2))[0]
        members: list[Pair] = []
        for pair in self._pick_pairs(groups, rng):
            copies = rng.choices((1, 2, 3, 4, 5), weights=(12, 4, 3, 2, 2))[0]
            members += [pair] * copies
        members = members[:8]
        cells = rng.sample([(column, row) for row in range(rows) for column in range(columns)], len(members))
        cells.sort(key=lambda cell: (cell[1], cell[0]))
        rng.shuffle(members)
        canvas = (columns * CELL_PX, rows * CELL_PX)
        things = tuple(self._place(pair, cell, canvas, rng) for pair, cell in zip(members, cells, strict=True))
        return Scene(*canvas, things)

    def _pick_pairs(self, count: int, rng: random.Random) -> list[Pair]:
        """Pairs of a scene; often two share a kind or a colour, so that one word does not tell things apart."""
        chosen = [rng.choice(self.pairs)]
        while len(chosen) < count:
            kin = rng.random()
            anchor = rng.choice(chosen)
            if kin < 0.25:
                pool = [pair for pair in self.pairs if pair[1] == anchor[1]]
            elif kin < 0.4 and self.split == "train":
                pool = [pair for pair in self.pairs if pair[0] == anchor[0]]
            else:
                pool = list(self.pairs)
            pair = rng.choice(pool)
            if pair not in chosen:
                chosen.append(pair)
        return chosen

    @staticmethod
    def _place(pair: Pair, cell: tuple[int, int], canvas: tuple[int, int], rng: random.Random) -> Thing:
        size = rng.choice(SIZES)
        side = rng.randint(*SIZE_PX[size])
        slack = max((CELL_PX - side) // 2, 0) + 3  # things may lean a little over the edge of their cell
        centre = [
            min(max(index * CELL_PX + CELL_PX // 2 + rng.randint(-slack, slack), side // 2), extent - side // 2)
            for index, extent in zip(cell, canvas, strict=True)
        ]
        return Thing(pair[0], pair[1], size, centre[0], centre[1], side)
