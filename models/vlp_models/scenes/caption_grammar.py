"""What a scene's caption says, as facts that can be checked against any scene, changed, and said again.

The grammar is that of `captions_of`: places of some things, counts of all, or a relation between two. A caption says
what it names and nothing of the rest, but for counts, which name every thing.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Protocol

from vlp_models.scenes.captions import place_words, plural
from vlp_models.scenes.kinds import COLOURS, KINDS, NUMBERS, SIZES, with_article
from vlp_models.scenes.world import Pair, Scene, Thing, above, left_of

PLACES = tuple(
    "center" if (row, column) == ("middle", "center") else f"{row} {column}"
    for row in ("top", "middle", "bottom")
    for column in ("left", "center", "right")
)
RELATIONS = {"to the left of": left_of, "above": above}
CAPTION_TYPES = ("places", "counts", "relation")

_KIND_NAMES = frozenset(kind.name for kind in KINDS)
_SINGULARS = {kind.plural: kind.name for kind in KINDS}
_PLACED = re.compile(rf"an? ({'|'.join(SIZES)}) (\S+) (\S+) at the (.+)")
_COUNTS = re.compile(r"(\S+) things?: (.+)")
_RELATION = re.compile(rf"an? (\S+) (\S+) ({'|'.join(RELATIONS)}) an? (\S+) (\S+)")


class CaptionFacts(Protocol):
    """What one caption says."""

    type: ClassVar[str]

    @property
    def pairs(self) -> frozenset[Pair]:
        """The (kind, colour) pairs that a scene must hold for the caption to be true."""
        ...

    @property
    def text(self) -> str:
        """The caption."""
        ...

    def holds(self, scene: Scene) -> bool:
        """Whether the caption is true of a scene."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A thing of a caption with its place."""

    size: str
    colour: str
    kind: str
    place: str

    @classmethod
    def of(cls, thing: Thing, scene: Scene) -> Placed:
        """A thing as captions name it."""
        return cls(thing.size, thing.colour, thing.kind, place_words(thing, scene))


@dataclass(frozen=True, slots=True)
class PlacesCaption:
    """Some things and where they lie; the same words twice mean two things."""

    things: tuple[Placed, ...]
    type: ClassVar[str] = "places"

    @property
    def pairs(self) -> frozenset[Pair]:
        """See CaptionFacts."""
        return frozenset((thing.kind, thing.colour) for thing in self.things)

    @property
    def text(self) -> str:
        """See CaptionFacts."""
        return ", ".join(f"a {thing.size} {thing.colour} {thing.kind} at the {thing.place}" for thing in self.things)

    def holds(self, scene: Scene) -> bool:
        """See CaptionFacts."""
        return Counter(self.things) <= Counter(Placed.of(thing, scene) for thing in scene.things)


@dataclass(frozen=True, slots=True)
class CountsCaption:
    """How many there are of every (kind, colour) pair, and in all."""

    total: int
    counts: tuple[tuple[Pair, int], ...]
    type: ClassVar[str] = "counts"

    @property
    def pairs(self) -> frozenset[Pair]:
        """See CaptionFacts."""
        return frozenset(pair for pair, _ in self.counts)

    @property
    def text(self) -> str:
        """See CaptionFacts."""
        parts = [
            f"{NUMBERS[count]} {colour} {kind if count == 1 else plural(kind)}" for (kind, colour), count in self.counts
        ]
        listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        return f"{NUMBERS[self.total]} {'thing' if self.total == 1 else 'things'}: {listed}"

    def holds(self, scene: Scene) -> bool:
        """See CaptionFacts."""
        counted = Counter((thing.kind, thing.colour) for thing in scene.things)
        return self.total == len(scene.things) and sorted(self.counts) == sorted(counted.items())


@dataclass(frozen=True, slots=True)
class RelationCaption:
    """Two things, of which one lies left of or above the other."""

    first: Pair
    words: str
    second: Pair
    type: ClassVar[str] = "relation"

    @property
    def pairs(self) -> frozenset[Pair]:
        """See CaptionFacts."""
        return frozenset((self.first, self.second))

    @property
    def text(self) -> str:
        """See CaptionFacts."""
        (kind, colour), (other_kind, other_colour) = self.first, self.second
        return f"{with_article(colour)} {kind} {self.words} {with_article(other_colour)} {other_kind}"

    def holds(self, scene: Scene) -> bool:
        """See CaptionFacts."""
        holds = RELATIONS[self.words]
        firsts = [thing for thing in scene.things if (thing.kind, thing.colour) == self.first]
        seconds = [thing for thing in scene.things if (thing.kind, thing.colour) == self.second]
        return any(holds(a, b) for a in firsts for b in seconds)


def parse_caption(text: str) -> CaptionFacts | None:
    """What a caption says; None for a text that no caption of a scene can be."""
    if match := _COUNTS.fullmatch(text):
        return _parse_counts(match[1], match[2])
    if match := _RELATION.fullmatch(text):
        first, second = _pair(match[2], match[1]), _pair(match[5], match[4])
        return RelationCaption(first, match[3], second) if first and second else None
    placed = [_PLACED.fullmatch(part) for part in text.split(", ")]
    things = [Placed(*match.groups()) for match in placed if match]
    if len(things) < len(placed) or not all(_pair(t.kind, t.colour) and t.place in PLACES for t in things):
        return None
    return PlacesCaption(tuple(things))


def _parse_counts(total: str, listed: str) -> CountsCaption | None:
    counts = []
    for part in re.split(r", | and ", listed):
        words = part.split(" ")
        if len(words) != 3 or words[0] not in NUMBERS:
            return None
        number = NUMBERS.index(words[0])
        pair = _pair(words[2] if number == 1 else _SINGULARS.get(words[2], ""), words[1])
        if pair is None:
            return None
        counts.append((pair, number))
    return CountsCaption(NUMBERS.index(total), tuple(counts)) if total in NUMBERS else None


def _pair(kind: str, colour: str) -> Pair | None:
    return (kind, colour) if kind in _KIND_NAMES and colour in COLOURS else None
