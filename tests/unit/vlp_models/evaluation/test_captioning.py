from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from vlp_models.data.records import PictureRecord
from vlp_models.evaluation.captioning import NO_TYPE, score_captions
from vlp_models.scenes.captions import captions_of
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
PLACES = "a small red cat at the top left, a large orange sheep at the bottom right"
COUNTS = "three things: two red cats and one orange sheep"
RELATION = "a red cat above an orange sheep"


def records(*scenes: Scene | None, captions: tuple[str, ...] = (PLACES, COUNTS, RELATION)) -> list[PictureRecord]:
    return [PictureRecord(str(number), "", captions, (), (), scene) for number, scene in enumerate(scenes)]


def exact(caption: str, scene: Scene = SCENE) -> tuple[float, float]:
    found = score_captions([caption], records(scene)).scenes
    assert found is not None
    return found.exact, found.complete


@pytest.mark.parametrize(
    ("caption", "is_exact", "is_complete"),
    [
        (PLACES, True, False),
        (f"{PLACES}, a small red cat at the top left", True, True),
        (f"{PLACES}, a large orange sheep at the bottom right", False, False),
        (PLACES.replace("small", "large"), False, False),
        (COUNTS, True, True),
        (COUNTS.replace("two", "one"), False, False),
        (RELATION, True, False),
        ("an orange sheep above a red cat", False, False),
        # The same number of the same things, told twice.
        ("three things: two red cats, two red cats and one orange sheep", False, False),
        # Things that the grammar does not say.
        (f"{RELATION} and a tree", False, False),
        ("a red cat above a orange sheep", False, False),
        ("three thing: two red cats and one orange sheep", False, False),
        ("", False, False),
    ],
)
def test_a_caption_is_exact_where_the_grammar_says_it_and_the_scene_holds_it(
    caption: str, is_exact: bool, is_complete: bool
) -> None:
    assert exact(caption) == (is_exact, is_complete)


def test_how_marks_are_spaced_and_case_say_nothing() -> None:
    assert exact(" Three things :  two red cats and one orange sheep .") == (1, 1)
    assert exact("a small red cat at the top left , a large orange sheep at the bottom right") == (1, 0)


def test_a_relation_between_the_only_two_things_names_everything() -> None:
    assert exact(RELATION, Scene(256, 256, SCENE.things[1:])) == (1, 1)


def test_shares_are_told_by_the_type_that_was_said() -> None:
    said = [PLACES, COUNTS, COUNTS.replace("two", "five"), "a dog"]
    scenes = score_captions(said, records(*[SCENE] * 4)).scenes
    assert scenes is not None
    assert (scenes.pictures, scenes.exact, scenes.complete) == (4, 0.5, 0.25)
    assert scenes.by_type == {"places": (1, 1.0), "counts": (2, 0.5), NO_TYPE: (1, 0.0)}


def test_captions_of_the_generator_are_exact_and_their_own_references() -> None:
    world, rng = World("train"), random.Random(3)
    scenes = [world.draw(rng) for _ in range(30)]
    texts = [captions_of(scene, random.Random(number)) for number, scene in enumerate(scenes)]
    drawn = [PictureRecord("", "", own, (), (), scene) for own, scene in zip(texts, scenes, strict=True)]
    for place in range(3):
        scores = score_captions([own[place] for own in texts], drawn)
        assert scores.bleu == pytest.approx((1, 1, 1, 1))
        assert scores.cider > 1
        assert scores.scenes is not None
        assert scores.scenes.exact == 1
    other = score_captions([own[2] for own in texts[1:] + texts[:1]], drawn)
    assert other.scenes is not None
    assert other.scenes.exact < 0.2
    assert other.cider < scores.cider


def test_every_caption_of_a_record_is_a_reference() -> None:
    """Which of them a caption is like decides BLEU; CIDEr is a mean over all of them."""
    many, one = records(None, None), records(None, None, captions=(PLACES,))
    assert score_captions([COUNTS, RELATION], many).bleu[0] == pytest.approx(1)
    assert score_captions([COUNTS, RELATION], one).bleu[0] < 0.7


def test_scenes_are_scored_where_they_are_known() -> None:
    assert score_captions([COUNTS], records(None)).scenes is None
    half = score_captions([COUNTS, COUNTS], records(None, SCENE)).scenes
    assert half is not None
    assert (half.pictures, half.exact) == (1, 1)


@pytest.mark.parametrize("said", [[], [COUNTS, COUNTS]])
def test_each_picture_has_one_caption(said: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="captions for 1 pictures"):
        score_captions(said, records(SCENE))
