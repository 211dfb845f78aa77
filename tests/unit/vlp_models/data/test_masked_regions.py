from __future__ import annotations

import numpy as np
import pytest
from vlp_models.data.masked_regions import MaskedRegionStream
from vlp_models.data.region_features import RegionFeatures, blind_regions
from vlp_models.data.streams import Arrays, BatchShape
from vlp_models.data.tokens import TokenStore
from vlp_spec.errors import ArtifactError

PICTURES, CAPTIONS = 13, 26
PICTURE_OF = np.repeat(np.arange(PICTURES), 2)
COUNTS = np.array([1 + picture % 5 for picture in range(PICTURES)])


def regions(*, classes: bool = True) -> RegionFeatures:
    """Picture i has features of i, and a row number in the second feature."""
    ends = np.cumsum(COUNTS)
    rows = int(ends[-1])
    features = np.stack([np.repeat(np.arange(PICTURES), COUNTS), np.arange(rows)], axis=1).astype(np.float16)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), rows).astype(np.float16)
    positions = np.ones((rows, 7), dtype=np.float32)
    spans = np.stack([ends - COUNTS, ends], axis=1)
    return RegionFeatures(spans, features, positions, probabilities if classes else None)


def tokens() -> TokenStore:
    def encode(text: str) -> np.ndarray:
        return np.array([2, *range(10, 11 + int(text) % 5), 20 + int(text), 3])

    return TokenStore.encode([str(index) for index in range(CAPTIONS)], encode, 0)


def stream(shape: BatchShape, *, probability: float = 0.3, classes: bool = True) -> MaskedRegionStream:
    return MaskedRegionStream(regions(), tokens(), PICTURE_OF, shape, probability=probability, classes=classes)


def hidden_rows(batch: Arrays) -> list[list[float]]:
    """Row numbers of the hidden regions, and 0 in their place: a batch's own account of what it hides."""
    return np.where(batch["region_masked"], batch["region_features"][..., 1], -1).tolist()


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.99])
def test_at_least_one_region_of_each_picture_is_hidden_and_never_padding(probability: float) -> None:
    made = stream(BatchShape(8), probability=probability)
    for number in range(2 * made.batches_per_epoch):
        batch = made.batch(number)
        masked, mask = batch["region_masked"], batch["region_mask"]
        assert masked.dtype == np.bool_
        assert masked.shape == mask.shape
        assert masked.any(axis=1).all()
        assert not (masked & ~mask).any()


def test_regions_are_hidden_as_often_as_wanted() -> None:
    # Of pictures with n regions, one is hidden at least: the expected number is n p + (1 - p)^n.
    made = stream(BatchShape(8), probability=0.3)
    batches = [made.batch(number) for number in range(400)]
    counts = np.concatenate([batch["region_mask"].sum(axis=1) for batch in batches])
    hidden = sum(int(batch["region_masked"].sum()) for batch in batches)
    expected = (0.3 * counts + 0.7**counts).sum()
    assert hidden == pytest.approx(expected, rel=0.03)


def test_captions_pictures_and_classes_belong_together() -> None:
    made, own = stream(BatchShape(5)), regions()
    assert made.batches_per_epoch == CAPTIONS // 5
    for number in range(made.batches_per_epoch):
        batch = made.batch(number)
        caption = batch["input_ids"].max(axis=1) - 20
        np.testing.assert_array_equal(batch["region_features"][:, 0, 0], caption // 2)
        np.testing.assert_array_equal(batch["region_mask"].sum(axis=1), COUNTS[caption // 2])
        rows = batch["region_features"][batch["region_masked"]][:, 1].astype(int)
        assert own.class_probabilities is not None
        np.testing.assert_array_equal(batch["region_classes"], own.class_probabilities[rows].astype(np.float32))
        assert batch["region_classes"].dtype == np.float32


def test_a_batch_is_a_function_of_its_number_and_the_seed() -> None:
    made = stream(BatchShape(4))
    first = [made.batch(number) for number in (0, 7, 13)]
    again = [stream(BatchShape(4)).batch(number) for number in (13, 0, 7)]
    for one, other in zip(first, (again[1], again[2], again[0]), strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])
    drawn = {str(hidden_rows(stream(BatchShape(4, seed=seed)).batch(0))) for seed in range(4)}
    assert len(drawn) == 4


def test_two_processes_see_what_one_with_the_whole_batch_sees() -> None:
    whole = stream(BatchShape(4))
    halves = [stream(BatchShape(2, rank=rank, processes=2)) for rank in (0, 1)]
    for number in (0, 3, 11):
        expected, parts = whole.batch(number), [half.batch(number) for half in halves]
        for name in ("input_ids", "text_mask", "region_features", "region_mask", "region_masked"):
            joined = [row for part in parts for row in part[name]]
            for mine, theirs in zip(expected[name], joined, strict=True):
                # Texts and pictures are padded to the largest of their own process.
                np.testing.assert_array_equal(mine[: len(theirs)], theirs)
                assert not mine[len(theirs) :].any()
        np.testing.assert_array_equal(
            expected["region_classes"], np.concatenate([part["region_classes"] for part in parts])
        )
        hidden = int(expected["region_masked"].sum())
        assert expected["region_scale"] == pytest.approx(1 / hidden)
        assert all(part["region_scale"] == pytest.approx(2 / hidden) for part in parts)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 3, 1, 0, 2, 4)])
def test_the_batches_of_a_step_share_the_mean_over_their_hidden_regions(order: tuple[int, ...]) -> None:
    alone, made = stream(BatchShape(4)), stream(BatchShape(4, micro_batches=3))
    hidden = [int(alone.batch(number)["region_masked"].sum()) for number in range(6)]
    assert len(set(hidden)) > 1
    for number in order:
        batch = made.batch(number)
        total = sum(hidden[:3] if number < 3 else hidden[3:])
        assert batch["region_scale"] == pytest.approx(3 / total)
        assert batch["region_scale"].dtype == np.float32
        np.testing.assert_array_equal(batch["region_masked"], alone.batch(number)["region_masked"])


def test_classes_come_where_they_are_wanted_and_known() -> None:
    assert "region_classes" not in stream(BatchShape(4), classes=False).batch(0)
    unknown = MaskedRegionStream(regions(classes=False), tokens(), PICTURE_OF, BatchShape(4), classes=True)
    with pytest.raises(ArtifactError, match="no class probabilities"):
        unknown.batch(0)


def test_the_one_region_of_a_blind_picture_is_always_hidden() -> None:
    made = MaskedRegionStream(blind_regions(PICTURES, 2), tokens(), PICTURE_OF, BatchShape(4))
    assert made.batch(3)["region_masked"].tolist() == [[True]] * 4
