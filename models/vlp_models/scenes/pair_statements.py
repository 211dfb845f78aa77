"""Sentences about two pictures side by side, true or false.

They come in twos of one form about the same pictures, one true and one false, and differ in kinds and colours alone:
neither the words nor the pictures by themselves give the answer away.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vlp_models.scenes.amounts import WAYS, Amount, amount_of, draw_pair
from vlp_models.scenes.kinds import NUMBERS, with_article
from vlp_models.scenes.world import Scene

_TRIES = 40
_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True)
class PairStatement:
    """A sentence about two pictures, whether it is true, and its form, such as "more"."""

    text: str
    is_true: bool
    type: str


def pair_statements_of(left: Scene, right: Scene, rng: random.Random, twos: int = 3) -> tuple[PairStatement, ...]:
    """Twos of different forms; fewer where the pictures do not allow as many."""
    found: list[PairStatement] = []
    forms = list(_FORMS)
    rng.shuffle(forms)
    for form in forms:
        found += _two(left, right, form, rng)
        if len(found) >= 2 * twos:
            break
    return tuple(found)


def _two(left: Scene, right: Scene, form: str, rng: random.Random) -> list[PairStatement]:
    judge, way = _FORMS[form](rng), rng.choice(WAYS)
    by_truth: dict[bool, str] = {}
    for _ in range(_TRIES):
        amount = amount_of(draw_pair((*left.things, *right.things), rng), way)
        text, is_true = judge(amount, amount.count(left.things), amount.count(right.things))
        by_truth.setdefault(is_true, text)
        if len(by_truth) == 2:
            two = [PairStatement(text, is_true, form) for is_true, text in by_truth.items()]
            rng.shuffle(two)
            return two
    return []


Judge = Callable[[Amount, int, int], tuple[str, bool]]
"""What is counted, how often it is in the left and in the right picture -> a sentence and whether it is true."""


def _more(rng: random.Random) -> Judge:
    side, other = rng.choice((_SIDES, _SIDES[::-1]))

    def judge(amount: Amount, left: int, right: int) -> tuple[str, bool]:
        text = f"there are more {amount.several} in the {side} picture than in the {other} picture"
        return text, left > right if side == "left" else right > left

    return judge


def _both(rng: random.Random) -> Judge:
    return lambda amount, left, right: (f"both pictures show {with_article(amount.one)}", left > 0 and right > 0)


def _only(rng: random.Random) -> Judge:
    side = rng.choice(_SIDES)

    def judge(amount: Amount, left: int, right: int) -> tuple[str, bool]:
        here, there = (left, right) if side == "left" else (right, left)
        return f"only the {side} picture shows {with_article(amount.one)}", here > 0 and not there

    return judge


def _together(rng: random.Random) -> Judge:
    number = rng.randint(1, 6)

    def judge(amount: Amount, left: int, right: int) -> tuple[str, bool]:
        counted = f"is exactly one {amount.one}" if number == 1 else f"are exactly {NUMBERS[number]} {amount.several}"
        return f"there {counted} in the two pictures together", left + right == number

    return judge


def _equally(rng: random.Random) -> Judge:
    return lambda amount, left, right: (f"the pictures show equally many {amount.several}", left == right)


_FORMS: dict[str, Callable[[random.Random], Judge]] = {
    "more": _more,
    "both": _both,
    "only": _only,
    "together": _together,
    "equally": _equally,
}
PAIR_STATEMENT_TYPES = tuple(_FORMS)
