from __future__ import annotations

import random

import numpy as np
import pytest
from vlp_models.data.matching import FalseTexts
from vlp_models.data.pairs import FalseTextRule, PairObjectives, PairStream, PhraseStore, group_texts
from vlp_models.data.pictures import PictureStore
from vlp_models.data.preparations import move_pictures
from vlp_models.data.records import Region
from vlp_models.data.regions import RegionStore, region_phrase
from vlp_models.data.streams import BatchShape
from vlp_models.data.tokens import TokenStore
from vlp_models.scenes.captions import captions_of, place_words
from vlp_models.scenes.world import World
from vlp_spec.errors import ArtifactError

PICTURES = 6
TEXTS = ["10", "11", "10", "12 12", "13", "14 14", "15", "16"]
PICTURE_OF = np.array([0, 0, 1, 2, 3, 4, 4, 5])
PHRASES = [["20"], ["21", "22"], ["20"], ["23", "24"], ["25"], ["26"]]


def _tokens(texts: list[str]) -> TokenStore:
    return TokenStore.encode(texts, lambda text: np.array([2, *map(int, text.split()), 3]), 0)


def _stream(shape: BatchShape, per_picture: int = 2, judged: FalseTextRule | None = None, moved: int = 0) -> PairStream:
    grids = np.ones((PICTURES, 2), dtype=np.int32)
    pictures = PictureStore([np.full((1, 12), index, np.uint8) for index in range(PICTURES)], grids)
    flat = [phrase for own in PHRASES for phrase in own]
    first = np.cumsum([0, *(len(own) for own in PHRASES)])
    slots = np.arange(len(flat))
    words = [np.array([[index, int(text)] for index, text in enumerate(own)]) for own in PHRASES]
    regions = RegionStore([slots[start:end] for start, end in zip(first, first[1:], strict=False)], words)
    phrases = PhraseStore(_tokens(flat), group_texts(flat), slots, first, per_picture)
    return PairStream(
        pictures,
        _tokens(TEXTS),
        group_texts(TEXTS),
        PICTURE_OF,
        shape=shape,
        wanted=PairObjectives(regions, phrases, judged, moved),
    )


def test_equal_texts_are_one_group() -> None:
    assert group_texts(TEXTS).tolist() == [0, 1, 0, 2, 3, 4, 5, 6]


def test_a_batch_holds_captions_with_their_pictures() -> None:
    stream = _stream(BatchShape(8))
    batch = stream.batch(0)
    assert (batch["pixels"].shape, batch["pixels"].dtype) == ((8, 2, 2, 3), np.uint8)
    shown = batch["pixels"][:, 0, 0, 0]
    assert np.array_equal(shown, batch["picture_groups"])
    said = [int(word) for word in batch["input_ids"][:, 1]]
    assert {word: picture for word, picture in zip(said, shown.tolist(), strict=True) if word != 10} == {
        11: 0, 12: 2, 13: 3, 14: 4, 15: 4, 16: 5
    }  # fmt: skip
    assert batch["text_mask"].sum() == sum(2 + len(text.split()) for text in TEXTS)
    assert (batch["text_groups"][[word == 10 for word in said]] == 0).all()


def test_phrases_are_those_of_the_rows_pictures() -> None:
    batch = _stream(BatchShape(8)).batch(1)
    for row, picture in enumerate(batch["picture_groups"]):
        words = batch["phrase_ids"][2 * row : 2 * row + 2, 1].tolist()
        assert {str(word) for word in words} <= set(PHRASES[picture])
    flat = [phrase for own in PHRASES for phrase in own]
    named = [flat[slot] for slot in batch["phrase_slots"]]
    assert named == [str(word) for word in batch["phrase_ids"][:, 1]]
    assert len(batch["phrase_groups"]) == 16


def test_two_processes_share_the_batch_of_one() -> None:
    whole = _stream(BatchShape(4)).batch(3)
    halves = [_stream(BatchShape(2, rank=rank, processes=2)).batch(3) for rank in range(2)]
    for name in ("pixels", "input_ids", "phrase_slots", "phrase_ids"):
        parts = [half[name] for half in halves]
        width = max(part.shape[-1] for part in parts)
        if name.endswith("ids"):
            parts = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
        assert np.array_equal(whole[name], np.concatenate(parts)), name
    for name in ("text_groups", "picture_groups", "phrase_groups"):
        assert all(np.array_equal(whole[name], half[name]) for half in halves)
    assert float(halves[0]["region_scale"]) == 2 * float(whole["region_scale"])


def test_a_regions_phrase_names_its_place_as_captions_do() -> None:
    assert region_phrase(Region((0.0, 0.0, 0.2, 0.3), ("small", "red", "cat"))) == "a small red cat at the top left"
    assert region_phrase(Region((0.4, 0.4, 0.6, 0.6), ("cat",))) == "a cat at the center"
    scene = World("train").draw(random.Random(5))
    for thing in scene.things:
        sides = (scene.width, scene.height, scene.width, scene.height)
        left, top, right, bottom = (edge / side for edge, side in zip(thing.box, sides, strict=True))
        phrase = region_phrase(Region((left, top, right, bottom), (thing.size, thing.colour, thing.kind)))
        assert phrase == f"a {thing.size} {thing.colour} {thing.kind} at the {place_words(thing, scene)}"


def test_a_loss_over_tokens_becomes_a_mean_over_the_step() -> None:
    shapes = [BatchShape(2, rank=rank, processes=2, micro_batches=2) for rank in range(2)]
    streams = [_stream(shape) for shape in shapes]
    batches = [stream.batch(number) for number in (2, 3) for stream in streams]
    # What is averaged over processes and micro-batches: a sum over 1 for every token but the first of each text.
    means = [(batch["text_mask"].sum() - 2) * float(batch["word_scale"]) for batch in batches]
    assert np.isclose(sum(means) / 4, 1.0)


def test_pictures_are_moved_and_their_edges_repeated() -> None:
    square = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1).repeat(3, axis=3)
    moved = move_pictures(np.concatenate([square, square]), np.array([[1, 0], [0, -1]]))
    assert moved[0, ..., 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert moved[1, ..., 0].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]


def test_moves_are_drawn_anew_for_every_batch_and_alike_for_all_processes() -> None:
    pictures = PictureStore([np.arange(75, dtype=np.uint8).reshape(1, -1)] * 2, np.ones((2, 2), dtype=np.int32))

    def batch(shape: BatchShape, number: int) -> np.ndarray:
        stream = PairStream(
            pictures,
            _tokens(TEXTS),
            group_texts(TEXTS),
            PICTURE_OF % 2,
            shape=shape,
            wanted=PairObjectives(moved_pixels=2),
        )
        return np.asarray(stream.batch(number)["pixels"])

    whole = batch(BatchShape(8), 0)
    assert len(np.unique(whole, axis=0)) > 3
    assert not np.array_equal(whole, batch(BatchShape(8), 1))
    halves = [batch(BatchShape(4, rank=rank, processes=2), 0) for rank in range(2)]
    assert np.array_equal(whole, np.concatenate(halves))


def test_long_captions_are_left_out_on_wish() -> None:
    pictures = PictureStore([np.zeros((1, 12), np.uint8)] * PICTURES, np.ones((PICTURES, 2), dtype=np.int32))

    def make(longest: int) -> PairStream:
        shape = BatchShape(6, longest_text=longest)
        return PairStream(pictures, _tokens(TEXTS), group_texts(TEXTS), PICTURE_OF, shape=shape)

    assert set(make(3).batch(0)["input_ids"][:, 1].tolist()) == {10, 11, 13, 15, 16}  # 12 and 14 are said twice
    assert make(4).batch(0)["input_ids"].shape[1] == 4
    with pytest.raises(ArtifactError, match="all 8 texts have more than 2 tokens"):
        make(2)


def _judged(share: float, every: int = 1) -> FalseTextRule:
    scenes = [World("train").draw(random.Random(index)) for index in range(PICTURES)]
    texts = [captions_of(scenes[picture], random.Random(row))[2] for row, picture in enumerate(PICTURE_OF)]
    known = dict.fromkeys(range(PICTURES))
    known |= {index: scenes[index] for index in (0, 4)}
    words: dict[str, int] = {}
    encode = lambda text: np.array([words.setdefault(word, len(words) + 30) for word in text.split()])  # noqa: E731
    return FalseTextRule(FalseTexts(texts, PICTURE_OF, list(known.values()), encode), share, every)


def test_false_texts_stand_for_rows_whose_scene_is_known() -> None:
    batch = _stream(BatchShape(8), judged=_judged(1.0)).batch(0)
    known = np.flatnonzero(np.isin(batch["picture_groups"], (0, 4)))
    assert batch["false_rows"].tolist() == known.tolist()
    assert batch["false_ids"].shape == batch["false_mask"].shape
    assert (batch["false_ids"][batch["false_mask"] == 0] == 0).all()
    assert (batch["false_ids"][batch["false_mask"] == 1] >= 30).all()


def test_some_rows_or_none_get_a_false_text() -> None:
    assert len(_stream(BatchShape(8), judged=_judged(0.0)).batch(0)["false_rows"]) == 0
    counts = [len(_stream(BatchShape(8), judged=_judged(0.5)).batch(number)["false_rows"]) for number in range(40)]
    assert 50 < sum(counts) < 110  # of 160
    stream = _stream(BatchShape(8, micro_batches=2), judged=_judged(1.0, every=3))
    assert ["false_rows" in stream.batch(number) for number in range(8)] == [True, True, *[False] * 4, True, True]


def test_two_processes_draw_the_false_texts_of_one() -> None:
    rule = _judged(0.5)
    whole = _stream(BatchShape(8), judged=rule).batch(1)
    halves = [_stream(BatchShape(4, rank=rank, processes=2), judged=rule).batch(1) for rank in range(2)]
    rows = [row + 4 * rank for rank, half in enumerate(halves) for row in half["false_rows"]]
    assert rows == whole["false_rows"].tolist()
    assert sum(int(half["false_ids"].sum()) for half in halves) == int(whole["false_ids"].sum())
