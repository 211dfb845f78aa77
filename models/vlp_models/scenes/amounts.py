"""What sentences count: things of a colour, of a kind, or of both."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from vlp_models.scenes.captions import plural
from vlp_models.scenes.world import PAIRS, Pair, Thing

Way = Literal["colour", "kind", "pair"]
WAYS: tuple[Way, ...] = ("colour", "kind", "pair")


@dataclass(frozen=True, slots=True)
class Amount:
    """Some things by their words.

    Attributes:
        one: the words for one of them, without an article: "red thing", "cat", "red cat".
        several: for more.
        belongs: whether a thing is one of them.
    """

    one: str
    several: str
    belongs: Callable[[Thing], bool]

    def count(self, things: Sequence[Thing]) -> int:
        """How many of the things belong to it."""
        return sum(map(self.belongs, things))


def amount_of(pair: Pair, way: Way) -> Amount:
    """Things that share the pair's colour, its kind, or both."""
    kind, colour = pair
    if way == "colour":
        return Amount(f"{colour} thing", f"{colour} things", lambda thing: thing.colour == colour)
    if way == "kind":
        return Amount(kind, plural(kind), lambda thing: thing.kind == kind)
    return Amount(f"{colour} {kind}", f"{colour} {plural(kind)}", lambda t: (t.kind, t.colour) == (kind, colour))


def draw_pair(things: Sequence[Thing], rng: random.Random) -> Pair:
    """A pair that is there, one put together from what is there, or any."""
    way = rng.random()
    if way < 0.5:
        thing = rng.choice(things)
        return thing.kind, thing.colour
    if way < 0.85:
        return rng.choice(things).kind, rng.choice(things).colour
    return rng.choice(PAIRS)
