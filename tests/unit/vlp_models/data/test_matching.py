from __future__ import annotations

import random

import numpy as np
import pytest
from vlp_models.data.masking import MaskingRule
from vlp_models.data.matching import FalseText, FalseTexts, label_words, mark_replaced, with_false_texts
from vlp_models.data.pictures import PictureStore
from vlp_models.data.streams import BatchShape, CaptionObjectives, CaptionStream
from vlp_models.data.tokens import SpecialTokens, TokenStore
from vlp_models.scenes.caption_grammar import parse_caption
from vlp_models.scenes.captions import captions_of
from vlp_models.scenes.world import World

SCENES = [World("train").draw(random.Random(seed)) for seed in range(8)]
TEXTS = [captions_of(scene, random.Random(0))[0] for scene in SCENES]
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]


def _encode(text: str) -> np.ndarray:
    ids = []
    for word in text.replace(",", " ,").replace(":", " :").split():
        if word not in WORDS:
            WORDS.append(word)
        ids.append(WORDS.index(word))
    return np.array([1, *ids, 2], dtype=np.int32)


def _decode(ids: np.ndarray) -> str:
    words = " ".join(WORDS[index] for index in ids if index > 2)
    return words.replace(" ,", ",").replace(" :", ":")


def _stream(shape: BatchShape, share: float, scenes: list | None = None) -> CaptionStream:  # type: ignore[type-arg]
    grids = np.ones((8, 2), dtype=np.int32)
    pictures = PictureStore([np.full((1, 12), index, np.uint8) for index in range(8)], grids)
    known = SCENES if scenes is None else scenes
    made = FalseTexts(TEXTS, np.arange(8), known, _encode)
    return CaptionStream(
        pictures,
        TokenStore.encode(TEXTS, _encode, 0),
        np.arange(8),
        special=SpecialTokens(0, 1, 2, 3, np.zeros(400, dtype=bool)),
        wanted=CaptionObjectives(MaskingRule(), "random", false_texts=share),
        shape=shape,
        false_texts=made,
    )


def test_changed_words_are_marked() -> None:
    true, false = _encode("a red cat above a dog"), _encode("a blue cat above an owl")
    assert mark_replaced(true, false).tolist() == [0, 0, 1, 0, 0, 1, 1, 0]
    shorter = _encode("a red cat at the center")
    assert mark_replaced(_encode("a red cat at the top center"), shorter).tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert mark_replaced(true, true[:-2]).sum() == 0


def test_texts_are_exchanged_and_their_words_labelled() -> None:
    ids, mask = np.array([[1, 5, 2], [1, 6, 2]], dtype=np.int32), np.ones((2, 3), dtype=np.int32)
    given = {1: FalseText(np.array([1, 7, 8, 2]), np.array([0, 0, 1, 0]))}
    new_ids, new_mask = with_false_texts(ids, mask, given, 0)
    assert new_ids.tolist() == [[1, 5, 2, 0], [1, 7, 8, 2]]
    assert new_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    words = label_words(np.array([1, 0]), new_mask, given)
    assert words.tolist() == [[0, 0, 0, -1], [0, 0, 1, 0]]
    assert label_words(np.array([1, 0]), new_mask, {}).tolist() == [[0, 0, 0, -1], [-1] * 4]


def test_false_texts_are_shown_with_their_true_pictures() -> None:
    batch = _stream(BatchShape(8), 1.0).batch(0)
    shown = batch["itm_patches"][:, 0, 0]
    for row in range(8):
        facts, scene = parse_caption(_decode(batch["itm_ids"][row])), SCENES[shown[row]]
        assert facts is not None
        assert facts.holds(scene) == bool(batch["itm_labels"][row])
        assert (batch["itm_words"][row] == 1).any() == (batch["itm_labels"][row] == 0)
    assert (batch["itm_labels"] == 0).sum() == 4
    assert not (shown == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_two_processes_draw_what_one_draws(share: float) -> None:
    whole = _stream(BatchShape(8), share).batch(3)
    halves = [_stream(BatchShape(4, rank=rank, processes=2), share).batch(3) for rank in range(2)]
    for name in ("itm_labels", "itm_ids", "itm_mask", "itm_words", "itm_patches"):
        assert np.array_equal(whole[name], np.concatenate([half[name] for half in halves])), name


def test_without_scenes_pictures_are_exchanged() -> None:
    batch = _stream(BatchShape(8), 1.0, scenes=[None] * 8).batch(0)
    plain = _stream(BatchShape(8), 0.0).batch(0)
    assert np.array_equal(batch["itm_patches"], plain["itm_patches"])
    assert np.array_equal(batch["itm_ids"], batch["input_ids"])
    assert set(np.unique(batch["itm_words"])) == {-1, 0}
