"""Phrases that name exactly one thing of a scene."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vlp_models.scenes.caption_grammar import RELATIONS
from vlp_models.scenes.captions import place_words
from vlp_models.scenes.world import Scene, Thing


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words for a thing, and the form that they take, such as "place"."""

    text: str
    thing: Thing
    type: str


def phrases_of(scene: Scene, rng: random.Random, most: int = 3) -> tuple[Phrase, ...]:
    """Phrases of different forms about different things, where that can be had."""
    things = list(scene.things)
    rng.shuffle(things)
    found: list[Phrase] = []
    for thing in things:
        named = list(_phrases_for(thing, scene, rng))
        fresh = [phrase for phrase in named if phrase.type not in {other.type for other in found}]
        if fresh or named:
            found.append(rng.choice(fresh or named))
        if len(found) == most:
            break
    return tuple(found)


def _phrases_for(thing: Thing, scene: Scene, rng: random.Random) -> Iterator[Phrase]:
    place = place_words(thing, scene)
    pair = f"{thing.colour} {thing.kind}"
    tests: dict[str, tuple[str, Callable[[Thing], bool]]] = {
        "kind": (f"the {thing.kind}", lambda other: other.kind == thing.kind),
        "colour": (f"the {thing.colour} thing", lambda other: other.colour == thing.colour),
        "pair": (f"the {pair}", lambda other: _is_like(other, thing)),
        "size": (f"the {thing.size} {pair}", lambda other: _is_like(other, thing) and other.size == thing.size),
        "place": (
            f"the {pair} at the {place}",
            lambda other: _is_like(other, thing) and place_words(other, scene) == place,
        ),
    }
    unique = [(form, words) for form, (words, fits) in tests.items() if sum(map(fits, scene.things)) == 1]
    yield from (Phrase(words, thing, form) for form, words in unique)
    words = _related(thing, scene, rng)
    if words is not None:
        yield Phrase(f"the {pair} {words}", thing, "relation")


def _is_like(other: Thing, thing: Thing) -> bool:
    return (other.kind, other.colour) == (thing.kind, thing.colour)


def _related(thing: Thing, scene: Scene, rng: random.Random) -> str | None:
    """How the thing, and no other like it, lies to something of which there is one."""
    like = [other for other in scene.things if _is_like(other, thing)]
    anchors = [other for other in scene.things if sum(_is_like(one, other) for one in scene.things) == 1]
    found = [
        f"{words} the {anchor.colour} {anchor.kind}"
        for words, holds in RELATIONS.items()
        for anchor in anchors
        if anchor is not thing and [other for other in like if holds(other, anchor)] == [thing]
    ]
    return rng.choice(found) if found else None
