"""The compositions of the test split are never shown, nor spoken of, in training."""

from __future__ import annotations

import itertools

import pytest
from vlp_models.scenes.dataset import SPLITS, draw_picture
from vlp_models.scenes.kinds import COLOURS, KINDS
from vlp_models.scenes.world import Pair, Split, pairs_of

KIND_OF = {word: kind.name for kind in KINDS for word in (kind.name, kind.plural)}
PICTURES = 60


def _pairs_named(sentence: str) -> set[Pair]:
    words = sentence.replace(",", " ").replace(":", " ").replace("?", " ").split()
    return {
        (KIND_OF[noun], colour) for colour, noun in itertools.pairwise(words) if colour in COLOURS and noun in KIND_OF
    }


def test_splits_share_no_pair_and_lose_none() -> None:
    pairs = {split: set(pairs_of(split)) for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not pairs[one] & pairs[other]
    assert set().union(*pairs.values()) == {(kind.name, colour) for kind in KINDS for colour in COLOURS}


@pytest.mark.parametrize("split", SPLITS)
def test_every_kind_and_every_colour_is_in_each_split(split: Split) -> None:
    assert {kind for kind, _ in pairs_of(split)} == {kind.name for kind in KINDS}
    assert {colour for _, colour in pairs_of(split)} == set(COLOURS)


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_questions_and_captions_use_the_pairs_of_their_split_alone(split: Split) -> None:
    allowed, asked = set(pairs_of(split)), set()
    for index in range(PICTURES):
        record = draw_picture(split, index).record
        shown = {(thing["kind"], thing["colour"]) for thing in record["scene"]["things"]}
        assert shown <= allowed
        captioned = set().union(*(_pairs_named(caption) for caption in record["captions"]))
        assert captioned <= shown, record["captions"]
        asked |= set().union(*(_pairs_named(question["question"]) for question in record["questions"]))
    assert asked <= allowed
    assert len(asked) > PICTURES / 4
