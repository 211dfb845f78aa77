"""Questions with one right answer, of six types, balanced so that the words alone do not give the answer away."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vlp_models.scenes.captions import place_words, plural
from vlp_models.scenes.kinds import COLOURS, KINDS, with_article
from vlp_models.scenes.world import PAIRS, Scene, Thing, above, left_of

QuestionType = Literal["kind", "colour", "count", "existence", "relation", "comparison"]
QUESTION_TYPES: tuple[QuestionType, ...] = ("kind", "colour", "count", "existence", "relation", "comparison")
MAX_COUNT = 6


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its one right answer, and its type."""

    question: str
    answer: str
    type: QuestionType


Asker = Callable[[Scene, random.Random], tuple[str, str] | None]


def questions_of(scene: Scene, rng: random.Random) -> tuple[Question, ...]:
    """Different questions of each type, up to its number in _ASKERS."""
    asked: dict[str, Question] = {}
    for kind, (asker, most) in _ASKERS.items():
        found = 0
        for _ in range(most * 10):
            drawn = asker(scene, rng)
            if drawn is not None and drawn[0] not in asked:
                asked[drawn[0]] = Question(drawn[0], drawn[1], kind)
                found += 1
            if found == most:
                break
    return tuple(asked.values())


def _one(things: list[Thing]) -> bool:
    return len(things) == 1


def _yes_no(truth: bool) -> str:
    return "yes" if truth else "no"


def _unique_kinds(scene: Scene) -> list[Thing]:
    counts = Counter(thing.kind for thing in scene.things)
    return [thing for thing in scene.things if counts[thing.kind] == 1]


def _ask_kind(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    thing = rng.choice(scene.things)
    way = rng.random()
    if way < 0.5:
        if len({other.kind for other in scene.things if other.colour == thing.colour}) > 1:
            return None
        return rng.choice(("what is the {} thing?", "what {} thing is there?")).format(thing.colour), thing.kind
    if way < 0.65:
        if not _one([other for other in scene.things if other.size == thing.size]):
            return None
        return f"what is the {thing.size} thing?", thing.kind
    place = place_words(thing, scene)
    if len({other.kind for other in scene.things if place_words(other, scene) == place}) > 1:
        return None
    return f"what is at the {place}?", thing.kind


def _ask_colour(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    thing = rng.choice(scene.things)
    same = [other for other in scene.things if other.kind == thing.kind]
    if len({other.colour for other in same}) == 1:
        name = thing.kind if _one(same) else plural(thing.kind)
        verb = "is" if _one(same) else "are"
        return rng.choice((f"what color {verb} the {name}?", f"which color {verb} the {name}?")), thing.colour
    if not _one([other for other in same if other.size == thing.size]):
        return None
    return f"what color is the {thing.size} {thing.kind}?", thing.colour


def _ask_count(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    target = rng.choices(range(6), weights=(1, 2, 2, 3, 3, 3))[0]  # drawn first: small counts crowd out the others
    way = rng.random()
    if way < 0.45:
        kinds = Counter(thing.kind for thing in scene.things)
        fitting = [kind for kind, count in kinds.items() if count == target]
        if target == 0:
            fitting = [kind.name for kind in rng.sample(KINDS, 4) if kind.name not in kinds]
        noun = plural(rng.choice(fitting)) if fitting else None
    elif way < 0.85:
        colours = Counter(thing.colour for thing in scene.things)
        fitting = [colour for colour in COLOURS if colours[colour] == target]
        noun = f"{rng.choice(fitting)} things" if fitting else None
    else:
        target = len(scene.things)
        noun = "things" if target <= MAX_COUNT else None
    if noun is None:
        return None
    return rng.choice(("how many {} are there?", "how many {} do you see?")).format(noun), str(target)


def _ask_existence(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    truth = rng.random() < 0.5
    present = {(thing.kind, thing.colour) for thing in scene.things}
    kinds = {kind for kind, _ in present}
    if rng.random() < 0.4:
        pool = sorted(kinds) if truth else [kind.name for kind in rng.sample(KINDS, 4) if kind.name not in kinds]
        return f"is there {with_article(rng.choice(pool))}?", _yes_no(truth)
    if truth:
        pool_pairs = sorted(present)
    else:
        absent = [pair for pair in PAIRS if pair not in present]
        colours = {colour for _, colour in present}
        near = [pair for pair in absent if pair[0] in kinds or pair[1] in colours]
        pool_pairs = near if near and rng.random() < 0.7 else absent
    kind, colour = rng.choice(pool_pairs)
    return rng.choice(("is there {} {}?", "do you see {} {}?")).format(with_article(colour), kind), _yes_no(truth)


_SIDES: dict[str, Callable[[Thing, Thing], bool]] = {
    "to the left of": left_of,
    "to the right of": lambda a, b: left_of(b, a),
    "above": above,
    "below": lambda a, b: above(b, a),
}


def _ask_relation(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    singles = _unique_kinds(scene)
    if len(singles) < 2:
        return None
    words, holds = rng.choice(list(_SIDES.items()))
    opposite = {"to the left of": "to the right of", "above": "below"}
    opposite |= {after: before for before, after in opposite.items()}
    a, b = rng.sample(singles, 2)
    if rng.random() < 0.5:
        on_side = [thing for thing in scene.things if thing is not b and holds(thing, b)]
        unclear = [t for t in scene.things if t is not b and not holds(t, b) and not _SIDES[opposite[words]](t, b)]
        if not _one(on_side) or unclear:
            return None
        return f"what is {words} the {b.kind}?", on_side[0].kind
    truth = rng.random() < 0.5
    wanted = holds if truth else _SIDES[opposite[words]]
    if not wanted(a, b):
        return None
    return f"is the {a.kind} {words} the {b.kind}?", _yes_no(truth)


def _ask_comparison(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    truth = rng.random() < 0.5
    way = rng.random()
    if way < 0.4:
        singles = _unique_kinds(scene)
        if len(singles) < 2:
            return None
        a, b = rng.sample(singles, 2)
        word, larger = rng.choice((("larger", a), ("smaller", b)))
        if a.size == b.size or (larger.size == "large") != truth:
            return None
        return f"is the {a.kind} {word} than the {b.kind}?", _yes_no(truth)
    by_kind = way < 0.7
    counts = Counter(thing.kind if by_kind else thing.colour for thing in scene.things)
    if len(counts) < 2:
        return None
    first, second = rng.sample(sorted(counts), 2)
    word = rng.choice(("more", "fewer"))
    difference = counts[first] - counts[second]
    if difference == 0 or ((difference > 0) == (word == "more")) != truth:
        return None
    names = (plural(first), plural(second)) if by_kind else (f"{first} things", f"{second} things")
    return f"are there {word} {names[0]} than {names[1]}?", _yes_no(truth)


# More of the types that many scenes cannot answer, so that all types are about equally frequent.
_ASKERS: dict[QuestionType, tuple[Asker, int]] = {
    "kind": (_ask_kind, 3),
    "colour": (_ask_colour, 2),
    "count": (_ask_count, 2),
    "existence": (_ask_existence, 2),
    "relation": (_ask_relation, 4),
    "comparison": (_ask_comparison, 3),
}
