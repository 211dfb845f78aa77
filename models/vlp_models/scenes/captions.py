"""Sentences that are true of a scene, for masked language modelling and image-text matching."""

from __future__ import annotations

import random
from collections import Counter

from vlp_models.scenes.kinds import KINDS, NUMBERS, with_article
from vlp_models.scenes.world import Cover, Scene, Thing, above, left_of

_PLURALS = {kind.name: kind.plural for kind in KINDS}


def plural(kind: str) -> str:
    """The plural of a kind's name."""
    return _PLURALS[kind]


def place_words(thing: Thing | Cover, scene: Scene) -> str:
    """Where a thing lies, on a coarse three by three grid: "top left", "center", "bottom right"..."""
    row = ("top", "middle", "bottom")[min(thing.y * 3 // scene.height, 2)]
    column = ("left", "center", "right")[min(thing.x * 3 // scene.width, 2)]
    return "center" if (row, column) == ("middle", "center") else f"{row} {column}"


def captions_of(scene: Scene, rng: random.Random) -> tuple[str, ...]:
    """Three captions: places of some things, counts of all, and a relation where there is one."""
    captions = [_places(scene, rng), _places(scene, rng), _counts(scene, rng)]
    relation = _relation(scene, rng)
    if relation is not None:
        captions.append(relation)
    return tuple(captions)


def _places(scene: Scene, rng: random.Random) -> str:
    named = rng.sample(scene.things, min(len(scene.things), rng.randint(2, 4)))
    return ", ".join(
        f"a {thing.size} {thing.colour} {thing.kind} at the {place_words(thing, scene)}" for thing in named
    )


def _counts(scene: Scene, rng: random.Random) -> str:
    counts = list(Counter((thing.colour, thing.kind) for thing in scene.things).items())
    rng.shuffle(counts)
    parts = [f"{NUMBERS[count]} {colour} {kind if count == 1 else plural(kind)}" for (colour, kind), count in counts]
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return f"{NUMBERS[len(scene.things)]} {'thing' if len(scene.things) == 1 else 'things'}: {listed}"


def _relation(scene: Scene, rng: random.Random) -> str | None:
    pairs = [(a, b) for a in scene.things for b in scene.things if left_of(a, b) or above(a, b)]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    words = [word for word, holds in (("to the left of", left_of(a, b)), ("above", above(a, b))) if holds]
    return f"{with_article(a.colour)} {a.kind} {rng.choice(words)} {with_article(b.colour)} {b.kind}"
