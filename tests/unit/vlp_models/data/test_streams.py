from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vlp_models.data.epochs import GroupShares
from vlp_models.data.labels import TargetStore
from vlp_models.data.masking import IGNORED, MaskingRule
from vlp_models.data.pictures import PictureStore
from vlp_models.data.prefetching import Prefetcher
from vlp_models.data.streams import (
    BatchShape,
    BatchStream,
    CaptionObjectives,
    CaptionStream,
    QuestionStream,
    caption_texts,
)
from vlp_models.data.tokens import SpecialTokens, TokenStore

SPECIAL = SpecialTokens(0, 2, 3, 4, np.zeros(60, dtype=bool))
TEXTS = 26


def _pictures() -> PictureStore:
    grids = np.array([[1, 1 + index % 3] for index in range(TEXTS // 2)], dtype=np.int32)
    return PictureStore([np.full((columns, 12), index, np.uint8) for index, (_, columns) in enumerate(grids)], grids)


def _tokens() -> TokenStore:
    def encode(text: str) -> np.ndarray:
        return np.array([2, *range(10, 11 + int(text) % 5), 20 + int(text), 3])

    return TokenStore.encode([str(index) for index in range(TEXTS)], encode, 0)


PICTURE_OF = np.repeat(np.arange(TEXTS // 2), 2)


def _captions(shape: BatchShape, **wanted: object) -> CaptionStream:
    objectives = replace(CaptionObjectives(masking=MaskingRule(0.4), negatives="random"), **wanted)  # type: ignore[arg-type]
    return CaptionStream(_pictures(), _tokens(), PICTURE_OF, special=SPECIAL, wanted=objectives, shape=shape)


def _questions(shape: BatchShape) -> QuestionStream:
    targets = TargetStore.of([{str(index): 1.0} for index in range(TEXTS)], [str(index) for index in range(1, TEXTS)])
    return QuestionStream(_pictures(), _tokens(), PICTURE_OF, targets, shape)


@pytest.mark.parametrize("build", [_captions, _questions])
def test_two_processes_see_what_one_with_the_whole_batch_sees(build: object) -> None:
    assert callable(build)
    whole: BatchStream = build(BatchShape(4))
    halves: list[BatchStream] = [build(BatchShape(2, rank=rank, processes=2)) for rank in (0, 1)]
    for number in (0, 3, 11):
        expected, parts = whole.batch(number), [half.batch(number) for half in halves]
        for name, array in expected.items():
            if name == "mlm_scale":
                assert all(part[name] == pytest.approx(2 * float(array)) for part in parts)
                continue
            joined = [row for part in parts for row in part[name]]
            assert len(joined) == len(array)
            if array.ndim == 1:
                assert joined == array.tolist()
                continue
            for mine, theirs in zip(array, joined, strict=True):
                # Pictures are padded to the largest of their own process.
                assert np.array_equal(mine[: len(theirs)], theirs)


def test_pictures_and_answers_belong_to_the_questions() -> None:
    stream = _questions(BatchShape(5))
    for number in range(stream.batches_per_epoch):
        batch = stream.batch(number)
        question = batch["input_ids"].max(axis=1) - 20
        assert np.array_equal(batch["patches"][:, 0, 0], question // 2)
        assert np.array_equal(batch["targets"].argmax(axis=1) + 1, question)
        assert (question != 0).all()  # its answer is no label


def test_false_pictures_are_labelled() -> None:
    batch = _captions(BatchShape(8)).batch(5)
    own = (batch["input_ids"].max(axis=1) - 20) // 2
    assert np.array_equal(batch["itm_patches"][:, 0, 0] == own, batch["itm_labels"] == 1)
    assert (batch["itm_labels"] == 0).sum() == 4
    assert np.array_equal(batch["patches"][:, 0, 0], own)


def test_matching_comes_in_every_so_many_batches() -> None:
    stream = _captions(BatchShape(4), itm_every=3)
    assert ["itm_labels" in stream.batch(number) for number in range(4)] == [True, False, False, True]
    assert "mlm_ids" not in _captions(BatchShape(4), masking=None).batch(0)


def test_one_text_a_picture_is_drawn_in_each_epoch() -> None:
    stream = _questions(BatchShape(1, texts_per_picture=1))
    assert stream.batches_per_epoch == TEXTS // 2
    shown = [int(stream.batch(number)["patches"][0, 0, 0]) for number in range(stream.batches_per_epoch)]
    assert sorted(shown) == list(range(TEXTS // 2))


def test_answered_questions_are_captions_on_wish() -> None:
    asked = [("which colour?", "red")]
    assert caption_texts(["a cup"], asked, with_answers=True) == ("a cup", "which colour? red")
    assert caption_texts(["a cup"], asked, with_answers=False) == ("a cup",)


def test_the_prefetcher_gives_the_batch_that_is_asked_for() -> None:
    built: list[int] = []

    def build(number: int) -> int:
        built.append(number)
        return number * 10

    with Prefetcher(build) as prefetcher:
        assert [prefetcher.get(number) for number in (0, 1, 7, 8)] == [0, 10, 70, 80]
    assert built[:2] == [0, 1]


def test_a_fault_in_building_reaches_the_caller() -> None:
    def build(number: int) -> int:
        raise ValueError(f"batch {number}")

    with Prefetcher(build) as prefetcher, pytest.raises(ValueError, match="batch 3"):
        prefetcher.get(3)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 2, 0, 1, 3)])
def test_the_batches_of_a_step_share_the_mean_over_their_words(order: tuple[int, ...]) -> None:
    alone, stream = _captions(BatchShape(4)), _captions(BatchShape(4, micro_batches=3))
    words = [int((alone.batch(number)["mlm_targets"] != IGNORED).sum()) for number in range(6)]
    assert len(set(words)) > 1
    for number in order:
        batch = stream.batch(number)
        total = sum(words[:3] if number < 3 else words[3:])
        assert batch["mlm_scale"] == pytest.approx(3 / total)
        np.testing.assert_array_equal(batch["mlm_targets"], alone.batch(number)["mlm_targets"])


def test_matching_comes_in_every_batch_of_every_so_many_steps() -> None:
    stream = _captions(BatchShape(4, micro_batches=2), itm_every=3)
    assert ["itm_labels" in stream.batch(number) for number in range(8)] == [True] * 2 + [False] * 4 + [True] * 2


class _Named:
    """Says which texts it was asked about."""

    def gather(self, texts: np.ndarray, num_slots: int) -> dict[str, np.ndarray]:
        return {"named": texts, "slots": np.array(num_slots)}

    def count(self, texts: np.ndarray) -> dict[str, int]:
        return {"told": len(texts)}


def test_questions_come_with_what_their_words_name_and_as_often_as_wanted() -> None:
    targets = TargetStore.of([{"a": 1.0}] * TEXTS, ["a"])
    types = ["rare" if index < 2 else "common" for index in range(TEXTS)]
    shares = GroupShares.of(types, {})
    stream = QuestionStream(_pictures(), _tokens(), PICTURE_OF, targets, BatchShape(4), shares=shares, named=_Named())
    asked = np.concatenate([stream.batch(number)["named"] for number in range(stream.batches_per_epoch)])
    assert (asked < 2).mean() == pytest.approx(0.5, abs=0.1)
    batch = stream.batch(0)
    assert np.array_equal(batch["input_ids"].max(axis=1) - 20, batch["named"])
    assert batch["slots"] == batch["patches"].shape[1]
    assert batch["ground_told_scale"] == pytest.approx(1 / 4)
