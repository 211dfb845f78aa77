"""What the splits hold back: looks of single things, and which things meet in a picture."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from vlp_models.scenes.dataset import draw_picture
from vlp_models.scenes.kinds import SIZES
from vlp_models.scenes.world import PAIRS, SPLITS, Pair, Split, held_back_looks, look_split, meeting_split, sizes_of

PICTURES = 60
Look = tuple[str, str, str]


def _shown(split: Split, index: int) -> tuple[set[Look], set[frozenset[Pair]]]:
    things = draw_picture(split, index).record["scene"]["things"]
    looks = {(thing["kind"], thing["colour"], thing["size"]) for thing in things}
    pairs = {(thing["kind"], thing["colour"]) for thing in things}
    return looks, {frozenset(meeting) for meeting in itertools.combinations(pairs, 2)}


def test_looks_are_split_sixteen_ways() -> None:
    counts = Counter(look_split(*pair, size) for pair in PAIRS for size in SIZES)
    total = len(PAIRS) * len(SIZES)
    assert counts["test"] / total == pytest.approx(1 / 16, abs=0.02)
    assert counts["val"] / total == pytest.approx(1 / 16, abs=0.02)


def test_a_meeting_has_one_split_whatever_its_order() -> None:
    meetings = list(itertools.islice(itertools.combinations(PAIRS, 2), 0, 100_000, 37))
    assert all(meeting_split(a, b) == meeting_split(b, a) for a, b in meetings)
    counts = Counter(meeting_split(a, b) for a, b in meetings)
    assert counts["test"] / len(meetings) == pytest.approx(1 / 4, abs=0.03)
    assert counts["val"] / len(meetings) == pytest.approx(1 / 8, abs=0.03)


def test_nearly_every_pair_of_kind_and_colour_is_trained_on() -> None:
    # Otherwise colour alone would tell which kinds a thing cannot be.
    assert sum(bool(sizes_of(pair, "train")) for pair in PAIRS) > 0.97 * len(PAIRS)


def test_training_pictures_hold_training_looks_and_meetings_alone() -> None:
    for index in range(PICTURES):
        looks, meetings = _shown("train", index)
        assert {look_split(*look) for look in looks} == {"train"}
        assert {meeting_split(*meeting) for meeting in meetings} <= {"train"}


@pytest.mark.parametrize("split", ["val", "test"])
def test_other_pictures_hold_unseen_meetings_alone_and_an_unseen_look(split: Split) -> None:
    for index in range(PICTURES):
        looks, meetings = _shown(split, index)
        assert meetings
        assert {meeting_split(*meeting) for meeting in meetings} == {split}
        assert split in {look_split(*look) for look in looks}
        assert {look_split(*look) for look in looks} <= {"train", split}


def test_every_split_but_training_holds_looks_back() -> None:
    held_back = {split: {(*pair, size) for pair, size in held_back_looks(split)} for split in SPLITS}
    assert held_back["val"]
    assert held_back["test"]
    assert not held_back["val"] & held_back["test"]
