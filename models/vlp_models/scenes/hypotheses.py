"""Sentences about a scene with covered places: entailed, contradicted, or neutral where only the hidden could tell.

Under a cover there is one thing or none. A sentence is entailed where it is true whatever is hidden, contradicted where
it is false whatever is hidden, and neutral otherwise. Sentences come in threes of one form about one picture, one of
each label, and differ in kinds, colours and mirrored places alone: neither the words nor the picture by itself gives a
label away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from vlp_models.scenes.amounts import WAYS, amount_of, draw_pair
from vlp_models.scenes.captions import place_words
from vlp_models.scenes.kinds import NUMBERS, with_article
from vlp_models.scenes.world import Cover, Pair, Scene, Thing

Label = Literal["entailment", "neutral", "contradiction"]
LABELS: tuple[Label, ...] = ("entailment", "neutral", "contradiction")
# Places of a group are each other's mirror images, so that none of them goes with a label more often than another.
# The middle strips have no mirror image: they hold more, and are covered more often.
_CORNERS = ("top left", "top right", "bottom left", "bottom right")
_SIDES = ("top center", "bottom center", "middle left", "middle right")
_PLACE_GROUPS = (_CORNERS, _CORNERS, _SIDES, _SIDES, ("center",))
ROWS = {"top row": (1, 0), "bottom row": (1, 2)}
COLUMNS = {"left column": (0, 0), "right column": (0, 2)}
_STRIPS = ROWS | COLUMNS
_TRIES = 40
# How far a hidden thing's middle may be from its cover's: nearer to the limit than this, nobody can tell.
_HIDDEN_PX = 20
_CLEAR_PX = 48


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sentence, its label, and its form, such as "relation"."""

    text: str
    label: Label
    type: str


def hypotheses_of(scene: Scene, rng: random.Random, threes: int = 2) -> tuple[Hypothesis, ...]:
    """Threes of different forms about a scene that has a cover; fewer where the scene does not allow as many."""
    found: list[Hypothesis] = []
    forms = list(_FORMS)
    rng.shuffle(forms)
    for form in forms:
        three = _three(scene, form, rng)
        found += three
        if len(found) >= 3 * threes:
            break
    return tuple(found)


def _three(scene: Scene, form: str, rng: random.Random) -> list[Hypothesis]:
    """One sentence of each label, of one form with the same numbers and places of its kind; none where one lacks."""
    for _ in range(4):
        say = _FORMS[form](scene, rng)
        by_label: dict[Label, str] = {}
        for _ in range(_TRIES):
            said = say()
            if said is not None:
                by_label.setdefault(said[1], said[0])
            if len(by_label) == len(LABELS):
                three = [Hypothesis(text, label, form) for label, text in by_label.items()]
                rng.shuffle(three)
                return three
    return []


Say = Callable[[], tuple[str, Label] | None]
"""Draws a sentence of a form that is settled, with its label; None where it cannot be judged."""


def _label(*, surely: bool, possibly: bool) -> Label:
    return "entailment" if surely else "neutral" if possibly else "contradiction"


def _name(pair: Pair) -> str:
    return f"{with_article(pair[1])} {pair[0]}"


def _placed(scene: Scene, rng: random.Random, *, denied: bool) -> Say:
    places = rng.choice(_PLACE_GROUPS)

    def say() -> tuple[str, Label]:
        pair, place = draw_pair(scene.things, rng), rng.choice(places)
        shown = any((t.kind, t.colour) == pair and place_words(t, scene) == place for t in scene.things)
        hidden = any(place_words(cover, scene) == place for cover in scene.covers)
        if denied:
            kind, colour = pair
            return f"there is no {colour} {kind} at the {place}", _label(
                surely=not shown and not hidden, possibly=not shown
            )
        return f"there is {_name(pair)} at the {place}", _label(surely=shown, possibly=shown or hidden)

    return say


def _at_least(scene: Scene, rng: random.Random) -> Say:
    number, way = rng.randint(len(scene.covers) + 1, len(scene.covers) + 2), rng.choice(WAYS)

    def say() -> tuple[str, Label]:
        amount = amount_of(draw_pair(scene.things, rng), way)
        seen = amount.count(scene.things)
        label = _label(surely=seen >= number, possibly=seen + len(scene.covers) >= number)
        return f"there are at least {NUMBERS[number]} {amount.several}", label

    return say


def _exactly_in(scene: Scene, rng: random.Random) -> Say:
    number, strips, way = rng.randint(1, 2), rng.choice((ROWS, COLUMNS)), rng.choice(WAYS)

    def say() -> tuple[str, Label]:
        name = rng.choice(list(strips))
        amount = amount_of(draw_pair(scene.things, rng), way)
        seen = amount.count([thing for thing in scene.things if _is_in(thing, name, scene)])
        hidden = sum(_is_in(cover, name, scene) for cover in scene.covers)
        possible = seen <= number <= seen + hidden
        counted = f"is exactly one {amount.one}" if number == 1 else f"are exactly {NUMBERS[number]} {amount.several}"
        return f"there {counted} in the {name}", _label(surely=possible and not hidden, possibly=possible)

    return say


def _is_in(placed: Thing | Cover, strip: str, scene: Scene) -> bool:
    axis, third = _STRIPS[strip]
    place, length = ((placed.x, scene.width), (placed.y, scene.height))[axis]
    return min(place * 3 // length, 2) == third


def _relation(scene: Scene, rng: random.Random) -> Say:
    words, axis = rng.choice((("to the left of", 0), ("above", 1)))

    def say() -> tuple[str, Label] | None:
        first, second = draw_pair(scene.things, rng), draw_pair(scene.things, rng)
        if first == second:
            return None
        firsts, seconds = (
            [(t.x, t.y)[axis] for t in scene.things if (t.kind, t.colour) == pair] for pair in (first, second)
        )
        surely = any(b - a >= _CLEAR_PX for a in firsts for b in seconds)
        label: Label | None = "entailment" if surely else _open_relation(scene, firsts, seconds, axis)
        return None if label is None else (f"{_name(first)} is {words} {_name(second)}", label)

    return say


def _open_relation(scene: Scene, firsts: Sequence[int], seconds: Sequence[int], axis: int) -> Label | None:
    """Whether something hidden could make it true that a first lies clearly before a second."""
    hidden = [(cover.x, cover.y)[axis] for cover in scene.covers]
    distances = [
        *(b - a for a in hidden for b in seconds),
        *(b - a for a in firsts for b in hidden),
        *(b - a for a in hidden for b in hidden if a != b),
    ]
    furthest = max(distances, default=-_HIDDEN_PX - 1)
    if abs(furthest - _CLEAR_PX) < _HIDDEN_PX:
        return None
    return "neutral" if furthest >= _CLEAR_PX else "contradiction"


_FORMS: dict[str, Callable[[Scene, random.Random], Say]] = {
    "place": lambda scene, rng: _placed(scene, rng, denied=False),
    "denied place": lambda scene, rng: _placed(scene, rng, denied=True),
    "at least": _at_least,
    "exactly": _exactly_in,
    "relation": _relation,
}
HYPOTHESIS_TYPES = tuple(_FORMS)
