"""Captions are read back to what they were drawn from, and checked against scenes."""

from __future__ import annotations

import random

import pytest
from vlp_models.scenes.caption_grammar import (
    CAPTION_TYPES,
    CountsCaption,
    Placed,
    PlacesCaption,
    RelationCaption,
    parse_caption,
)
from vlp_models.scenes.captions import captions_of
from vlp_models.scenes.dataset import draw_picture
from vlp_models.scenes.false_captions import false_captions
from vlp_models.scenes.scene_record import read_scene
from vlp_models.scenes.world import Scene, Thing, World

SCENE = Scene(
    256,
    256,
    (
        Thing("cat", "red", "small", 30, 30, 40),
        Thing("cat", "red", "small", 70, 30, 40),
        Thing("sheep", "orange", "large", 200, 220, 60),
    ),
)
HOLD = (
    "a small red cat at the top left",
    "a small red cat at the top left, a small red cat at the top left",
    "a large orange sheep at the bottom right, a small red cat at the top left",
    "three things: two red cats and one orange sheep",
    "three things: one orange sheep and two red cats",
    "a red cat to the left of an orange sheep",
    "a red cat above an orange sheep",
)
FAIL = (
    "a large red cat at the top left",
    "a small red cat at the top center",
    "a small orange cat at the top left",
    "a large orange sheep at the bottom right, a large orange sheep at the bottom right",
    "three things: two red cats and one orange cat",
    "two things: one red cat and one orange sheep",
    "two things: two red cats",
    "three things: two red cats, two red cats and one orange sheep",
    "three things: three orange sheep",
    "an orange sheep to the left of a red cat",
    "an orange sheep above a red cat",
    "a red cat above a red cat",
)


@pytest.mark.parametrize("caption", [*HOLD, *FAIL])
def test_a_caption_is_read_and_checked(caption: str) -> None:
    facts = parse_caption(caption)
    assert facts is not None
    assert facts.text == caption
    assert facts.holds(SCENE) == (caption in HOLD)


def test_what_captions_say() -> None:
    assert parse_caption(FAIL[2]) == PlacesCaption((Placed("small", "orange", "cat", "top left"),))
    assert parse_caption(HOLD[3]) == CountsCaption(3, ((("cat", "red"), 2), (("sheep", "orange"), 1)))
    relation = parse_caption(HOLD[5])
    assert relation == RelationCaption(("cat", "red"), "to the left of", ("sheep", "orange"))
    assert relation.pairs == {("cat", "red"), ("sheep", "orange")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red cat",
        "a small red unicorn at the top left",
        "a small mauve cat at the top left",
        "a small red cat at the far left",
        "a small red cat at the top left, and more",
        "ten things: ten red cats",
        "two things: two red cat",
        "two things: two cats",
        "many things: two red cats",
        "a red cat below a red dog",
        "a mauve cat above a red dog",
    ],
)
def test_other_texts_say_nothing(text: str) -> None:
    assert parse_caption(text) is None


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_caption_is_true_of_its_scene_and_said_again_word_for_word(split: str) -> None:
    world, seen = World(split), set()  # type: ignore[arg-type]
    for seed in range(150):
        scene = world.draw(random.Random(seed))
        for caption in captions_of(scene, random.Random(seed)):
            facts = parse_caption(caption)
            assert facts is not None
            assert facts.text == caption
            assert facts.holds(scene)
            assert facts.pairs <= {(thing.kind, thing.colour) for thing in scene.things}
            seen.add(facts.type)
    assert seen == set(CAPTION_TYPES)


def test_false_captions_are_false_and_near() -> None:
    world, counted = World("train"), 0
    for seed in range(150):
        scene = world.draw(random.Random(seed))
        for caption in captions_of(scene, random.Random(seed)):
            made = false_captions(caption, scene, random.Random(seed), 4)
            assert len(set(made)) == len(made) <= 4
            counted += len(made)
            for text in made:
                facts, true = parse_caption(text), parse_caption(caption)
                assert facts is not None
                assert true is not None
                assert not facts.holds(scene)
                assert facts.type == true.type
                assert facts.text == text
                # At most two words of a caption's own are new: an attribute, or its article or number with it.
                assert len(set(text.split()) - set(caption.split())) <= 4
    assert counted > 150 * 3 * 4 * 0.95
    assert false_captions("a red cat", scene, random.Random(0), 4) == ()


def test_the_same_chance_gives_the_same_false_captions() -> None:
    first, second = (false_captions(HOLD[2], SCENE, random.Random(3), 4) for _ in range(2))
    assert first == second
    assert len(first) == 4


def test_a_records_scene_is_read_back() -> None:
    record = draw_picture("test", 3).record
    scene = read_scene(record["scene"])
    assert scene is not None
    assert len(scene.things) == len(record["regions"])
    assert scene == World("test").draw(random.Random("scenes-2-0-test-3-scene"))
    for other in (None, 3, {}, {"things": [3], "width": 1, "height": 1}, {"things": [], "width": "wide", "height": 1}):
        assert read_scene(other) is None
