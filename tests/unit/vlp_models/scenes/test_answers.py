"""Every answer is worked out a second time, from the words of the question and the list of things alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from vlp_models.scenes.dataset import draw_picture
from vlp_models.scenes.kinds import COLOURS, KINDS
from vlp_models.scenes.questions import QUESTION_TYPES
from vlp_models.scenes.world import SPLITS, Split

KIND_OF = {word: kind.name for kind in KINDS for word in (kind.name, kind.plural)}
PICTURES = 60
Scene = dict[str, Any]
Thing = dict[str, Any]


def _named(scene: Scene, words: str) -> list[Thing]:
    """The things that words such as "red things", "large apple" or "buses" speak of."""
    found = scene["things"]
    for word in words.split():
        if word in COLOURS:
            found = [thing for thing in found if thing["colour"] == word]
        elif word in ("small", "large"):
            found = [thing for thing in found if thing["size"] == word]
        elif word not in ("thing", "things"):
            found = [thing for thing in found if thing["kind"] == KIND_OF[word]]
    return list(found)


def _yes_no(truth: bool) -> set[str]:
    return {"yes" if truth else "no"}


def _at(scene: Scene, place: str) -> set[str]:
    rows, columns = ("top", "middle", "bottom"), ("left", "center", "right")
    words = ["middle", "center"] if place == "center" else place.split()
    return {
        thing["kind"]
        for thing in scene["things"]
        if rows[int(3 * thing["y"] / scene["height"])] == words[0]
        and columns[int(3 * thing["x"] / scene["width"])] == words[1]
    }


def _before(side: str, one: Thing, other: Thing) -> bool:
    axis, sign = {"to the left of": ("x", 1), "to the right of": ("x", -1), "above": ("y", 1), "below": ("y", -1)}[side]
    return bool(sign * one[axis] < sign * other[axis])


def _beside(scene: Scene, side: str, word: str) -> set[str]:
    (anchor,) = _named(scene, word)
    return {thing["kind"] for thing in scene["things"] if thing is not anchor and _before(side, thing, anchor)}


def _is_beside(scene: Scene, first: str, side: str, second: str) -> set[str]:
    (one,), (other,) = _named(scene, first), _named(scene, second)
    return _yes_no(_before(side, one, other))


def _is_larger(scene: Scene, first: str, word: str, second: str) -> set[str]:
    (one,), (other,) = _named(scene, first), _named(scene, second)
    return _yes_no((one["side"] > other["side"]) == (word == "larger"))


def _is_more(scene: Scene, word: str, first: str, second: str) -> set[str]:
    difference = len(_named(scene, first)) - len(_named(scene, second))
    assert difference != 0
    return _yes_no((difference > 0) == (word == "more"))


SIDES = "(to the left of|to the right of|above|below)"
# Form of a question -> the set of answers that the scene allows; a good question has one.
FORMS: dict[str, Callable[..., set[str]]] = {
    r"how many (.+) (?:are there|do you see)\?": lambda scene, words: {str(len(_named(scene, words)))},
    r"(?:is there|do you see) an? (.+)\?": lambda scene, words: _yes_no(bool(_named(scene, words))),
    r"(?:what|which) color (?:is|are) the (.+)\?": lambda scene, words: {t["colour"] for t in _named(scene, words)},
    r"what is the (.+ thing)\?": lambda scene, words: {thing["kind"] for thing in _named(scene, words)},
    r"what (.+ thing) is there\?": lambda scene, words: {thing["kind"] for thing in _named(scene, words)},
    r"what is at the (.+)\?": _at,
    rf"what is {SIDES} the (.+)\?": _beside,
    rf"is the (.+) {SIDES} the (.+)\?": _is_beside,
    r"is the (.+) (larger|smaller) than the (.+)\?": _is_larger,
    r"are there (more|fewer) (.+) than (.+)\?": _is_more,
}


def _allowed_answers(scene: Scene, question: str) -> set[str]:
    matches = [(check, match) for form, check in FORMS.items() if (match := re.fullmatch(form, question))]
    assert len(matches) == 1, question
    check, match = matches[0]
    return check(scene, *match.groups())


def _questions(split: Split) -> Iterator[tuple[Scene, dict[str, Any]]]:
    for index in range(PICTURES):
        record = draw_picture(split, index).record
        for question in record["questions"]:
            yield record["scene"], question


@pytest.mark.parametrize("split", SPLITS)
def test_every_question_has_one_answer_and_it_is_the_given_one(split: Split) -> None:
    counts: Counter[str] = Counter()
    for scene, question in _questions(split):
        allowed = _allowed_answers(scene, question["question"])
        assert {answer: 1.0 for answer in allowed} == question["answers"], (question, scene)
        counts[question["type"]] += 1
    assert counts.keys() == set(QUESTION_TYPES)
    assert min(counts.values()) > PICTURES / 2


def test_no_answer_is_right_most_of_the_time() -> None:
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in QUESTION_TYPES}
    for _, question in _questions("train"):
        answers[question["type"]].update(question["answers"])
    for kind, counted in answers.items():
        assert counted.most_common(1)[0][1] / counted.total() < 0.65, (kind, counted)


def test_a_picture_is_not_asked_the_same_twice() -> None:
    for index in range(PICTURES):
        asked = [question["question"] for question in draw_picture("val", index).record["questions"]]
        assert len(set(asked)) == len(asked)
