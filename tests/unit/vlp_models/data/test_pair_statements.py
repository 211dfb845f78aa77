from __future__ import annotations

import numpy as np
import pytest
from tiny_gallery import gallery_record
from vlp_models.data.pair_statements import PairStatementStream, StatedPairs
from vlp_models.data.pictures import PictureStore
from vlp_models.data.records import PairStatement, PictureRecord, parse_record
from vlp_models.data.streams import BatchShape
from vlp_models.data.tokens import TokenStore
from vlp_spec.errors import ArtifactError

PICTURES = 15


def record(name: str, *told: tuple[str, bool]) -> PictureRecord:
    statements = tuple(PairStatement(f"about {other}", other, is_true) for other, is_true in told)
    return PictureRecord(name, "", (), (), pair_statements=statements)


RECORDS = tuple(
    record(str(index), *((str((index + 1 + turn) % PICTURES), bool((index + turn) % 2)) for turn in range(index % 3)))
    for index in range(PICTURES)
)


def pictures() -> PictureStore:
    """Picture i is made of bytes i, in i % 3 + 1 patches."""
    grids = np.array([[1, 1 + index % 3] for index in range(PICTURES)], dtype=np.int32)
    return PictureStore([np.full((columns, 12), index, np.uint8) for index, (_, columns) in enumerate(grids)], grids)


def stream(shape: BatchShape) -> PairStatementStream:
    pairs = StatedPairs.of(RECORDS, "train")

    def encode(text: str) -> np.ndarray:
        number = int(text)
        return np.array([2, *range(10, 11 + number % 5), 20 + number, 3])

    tokens = TokenStore.encode([str(index) for index in range(len(pairs.statements))], encode, 0)
    return PairStatementStream(pictures(), tokens, pairs, shape)


def test_statements_know_both_their_pictures() -> None:
    records = (record("a", ("c", True), ("b", False)), record("b"), record("c", ("a", True), ("c", False)))
    pairs = StatedPairs.of(records, "train")
    assert [one.text for one in pairs.statements] == ["about c", "about b", "about a", "about c"]
    assert pairs.left.tolist() == [0, 0, 2, 2]
    assert pairs.right.tolist() == [2, 1, 0, 2]
    assert pairs.is_true.tolist() == [1, 0, 1, 0]
    assert {array.dtype for array in (pairs.left, pairs.right, pairs.is_true)} == {np.dtype(np.int64)}


def test_a_statement_whose_other_picture_is_missing_is_left_out() -> None:
    records = tuple(parse_record(gallery_record("train", index)) for index in range(5))
    assert records[4].pair_statements[0].other == "train-5"
    pairs = StatedPairs.of(records, "train")
    assert (pairs.left.tolist(), pairs.right.tolist(), pairs.is_true.tolist()) == ([0, 2], [1, 3], [0, 1])
    with pytest.raises(ArtifactError, match="split 'train': no statements on two pictures"):
        StatedPairs.of(records[4:], "train")
    with pytest.raises(ArtifactError, match="split 'val': no statements"):
        StatedPairs.of([record("a")], "val")


def test_a_batch_holds_both_pictures_of_each_statement() -> None:
    made, pairs = stream(BatchShape(4)), StatedPairs.of(RECORDS, "train")
    assert len(pairs.statements) == 15
    assert made.batches_per_epoch == 3
    for number in range(6):
        batch = made.batch(number)
        stated = batch["input_ids"].max(axis=1) - 20
        np.testing.assert_array_equal(batch["left_patches"][:, 0, 0], pairs.left[stated])
        np.testing.assert_array_equal(batch["right_patches"][:, 0, 0], pairs.right[stated])
        np.testing.assert_array_equal(batch["left_grid"][:, 1], 1 + pairs.left[stated] % 3)
        np.testing.assert_array_equal(batch["right_grid"][:, 1], 1 + pairs.right[stated] % 3)
        np.testing.assert_array_equal(batch["labels"], pairs.is_true[stated])
        assert batch.keys() == {
            *("input_ids", "text_mask", "labels"),
            *("left_patches", "left_grid", "right_patches", "right_grid"),
        }


def test_every_statement_comes_once_in_an_epoch() -> None:
    made = stream(BatchShape(1))
    stated = [int(made.batch(number)["input_ids"].max()) - 20 for number in range(made.batches_per_epoch)]
    assert sorted(stated) == list(range(15))


def test_a_batch_is_a_function_of_its_number() -> None:
    made, other = stream(BatchShape(4)), stream(BatchShape(4))
    first = made.batch(1)
    for number in (4, 0, 1):
        made.batch(number)
    for name, array in first.items():
        np.testing.assert_array_equal(array, made.batch(1)[name])
        np.testing.assert_array_equal(array, other.batch(1)[name])
    assert {str(stream(BatchShape(4, seed=seed)).batch(0)["labels"]) for seed in range(9)} != {str(first["labels"])}


def test_two_processes_see_what_one_with_the_whole_batch_sees() -> None:
    whole = stream(BatchShape(4))
    halves = [stream(BatchShape(2, rank=rank, processes=2)) for rank in (0, 1)]
    for number in (0, 2, 7):
        expected, parts = whole.batch(number), [half.batch(number) for half in halves]
        for name, array in expected.items():
            for mine, theirs in zip(array, [row for part in parts for row in part[name]], strict=True):
                shared = np.ndim(theirs) and len(theirs)
                np.testing.assert_array_equal(mine[:shared] if shared else mine, theirs)
