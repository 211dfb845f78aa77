"""Captions that are nearly true of a scene: one attribute, number or relation is changed, or two are exchanged.

They are what a cross-encoder must learn to refuse: another scene's caption is mostly refused by its kinds alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from vlp_models.scenes.caption_grammar import (
    PLACES,
    CaptionFacts,
    CountsCaption,
    PlacesCaption,
    RelationCaption,
    parse_caption,
)
from vlp_models.scenes.kinds import COLOURS, KINDS, NUMBERS, SIZES
from vlp_models.scenes.world import Pair, Scene

_COLOURS = tuple(COLOURS)
_KINDS = tuple(kind.name for kind in KINDS)
_TRIES = 6  # a change may leave the caption true, or have been found before


def false_captions(caption: str, scene: Scene, rng: random.Random, count: int) -> tuple[str, ...]:
    """Different captions that are false of `scene` and differ from `caption` in as little as can be.

    Args:
        caption: a true caption in the grammar of the scenes; any other text gives none.
        scene: what the picture shows.
        rng: the source of chance.
        count: how many at most.
    """
    facts = parse_caption(caption)
    found: dict[str, None] = {}
    if facts is None:
        return ()
    for _ in range(count * _TRIES):
        changed = _CHANGES[facts.type](facts, scene, rng)
        if changed is not None and not changed.holds(scene):
            found[changed.text] = None
        if len(found) == count:
            break
    return tuple(found)


def _other(value: str, near: Sequence[str], everything: Sequence[str], rng: random.Random) -> str:
    """Another value, in half of the cases one that the scene has elsewhere."""
    close = sorted({item for item in near if item != value})
    if close and rng.random() < 0.5:
        return rng.choice(close)
    return rng.choice([item for item in everything if item != value])


def _change_pair(pair: Pair, scene: Scene, rng: random.Random) -> Pair:
    if rng.random() < 0.5:
        return pair[0], _other(pair[1], [thing.colour for thing in scene.things], _COLOURS, rng)
    return _other(pair[0], [thing.kind for thing in scene.things], _KINDS, rng), pair[1]


def _change_places(facts: PlacesCaption, scene: Scene, rng: random.Random) -> CaptionFacts:
    things = list(facts.things)
    index = rng.randrange(len(things))
    thing, way = things[index], rng.choice(("size", "pair", "pair", "place", "exchange"))
    if way == "size":
        things[index] = replace(thing, size=_other(thing.size, (), SIZES, rng))
    elif way == "place":
        things[index] = replace(thing, place=_other(thing.place, [item.place for item in things], PLACES, rng))
    elif way == "exchange" and len(things) > 1:
        other = rng.choice([number for number in range(len(things)) if number != index])
        name = rng.choice(("colour", "kind", "place"))
        mine, theirs = getattr(thing, name), getattr(things[other], name)
        things[index], things[other] = replace(thing, **{name: theirs}), replace(things[other], **{name: mine})
    else:
        kind, colour = _change_pair((thing.kind, thing.colour), scene, rng)
        things[index] = replace(thing, kind=kind, colour=colour)
    return PlacesCaption(tuple(things))


def _change_counts(facts: CountsCaption, scene: Scene, rng: random.Random) -> CaptionFacts | None:
    counts, total = list(facts.counts), facts.total
    index = rng.randrange(len(counts))
    (pair, number), way = counts[index], rng.choice(("pair", "pair", "number", "move"))
    if way == "number":
        step = rng.choice((-1, 1))
        counts[index], total = (pair, number + step), total + step
    elif way == "move" and len(counts) > 1:
        other = rng.choice([place for place in range(len(counts)) if place != index])
        counts[index], counts[other] = (pair, number - 1), (counts[other][0], counts[other][1] + 1)
    else:
        counts[index] = (_change_pair(pair, scene, rng), number)
    is_sayable = all(0 < amount < len(NUMBERS) for _, amount in counts) and 0 < total < len(NUMBERS)
    is_sayable = is_sayable and len({pair for pair, _ in counts}) == len(counts)
    return CountsCaption(total, tuple(counts)) if is_sayable else None


def _change_relation(facts: RelationCaption, scene: Scene, rng: random.Random) -> CaptionFacts:
    way = rng.choice(("exchange", "words", "first", "second"))
    if way == "exchange":
        return replace(facts, first=facts.second, second=facts.first)
    if way == "words":
        return replace(facts, words=next(words for words in ("above", "to the left of") if words != facts.words))
    if way == "first":
        return replace(facts, first=_change_pair(facts.first, scene, rng))
    return replace(facts, second=_change_pair(facts.second, scene, rng))


_CHANGES: dict[str, Callable[..., CaptionFacts | None]] = {
    "places": _change_places,
    "counts": _change_counts,
    "relation": _change_relation,
}
