import dataclasses
from pathlib import Path

import numpy as np
import pytest
from vlp_pipeline.pipeline import PreparedImage
from vlp_pipeline.regions import RegionLimits, Regions, check_regions
from vlp_pipeline.text import TextLimits
from vlp_pipeline.uniter_inputs import UniterInputs
from vlp_spec.deployment import AxisLimit, Deployment
from vlp_spec.errors import ArtifactError, InvalidArgumentError, TooLargeError

WIDTH, MOST = 3, 4


@pytest.fixture
def reader(deployment: Deployment) -> Deployment:
    """The manifest of a model that reads up to 4 regions of 3 numbers each."""
    return dataclasses.replace(
        deployment,
        family="uniter",
        image={"type": "regions", "region_size": WIDTH, "max_regions": MOST},
        axes={"batch": AxisLimit(1, 8, 64), "text": AxisLimit(4, 8, 10), "regions": AxisLimit(2, 4, MOST)},
    )


@pytest.fixture
def pair_reader(reader: Deployment) -> Deployment:
    sides = {f"{side}regions": AxisLimit(2, 4, MOST) for side in ("left_", "right_")}
    axes = {name: limit for name, limit in reader.axes.items() if name != "regions"}
    return dataclasses.replace(reader, axes=axes | sides)


@pytest.fixture
def inputs(reader: Deployment, assets_dir: Path) -> UniterInputs:
    return UniterInputs.from_deployment(reader, assets_dir)


def regions(count: int, first: float = 1.0, width: int = WIDTH) -> Regions:
    boxes = np.stack([np.array([0, 0, 0.5, (row + 1) / count]) for row in range(count)])
    features = first + np.arange(count * width, dtype=np.float32).reshape(count, width)
    return check_regions(boxes, features, limits=RegionLimits(max_regions=9))


def test_regions_are_prepared_once_and_for_all(inputs: UniterInputs) -> None:
    own = regions(3)
    image = inputs.prepare_regions(own)
    assert image.digest == own.digest()
    assert image.sizes == {"regions": 3}
    assert image.arrays["region_features"] is own.features
    assert image.arrays["region_positions"] is own.positions
    assert image.arrays["region_mask"].tolist() == [1, 1, 1]
    assert image.arrays["region_mask"].dtype == np.int32
    assert inputs.region_limits == RegionLimits(feature_width=WIDTH, max_regions=MOST)


def test_regions_that_the_model_does_not_read_are_refused(inputs: UniterInputs) -> None:
    with pytest.raises(InvalidArgumentError, match=r"features: got shape \(2, 5\), expected \(regions, 3\)") as caught:
        inputs.prepare_regions(regions(2, width=5))
    assert caught.value.field == "regions"
    with pytest.raises(TooLargeError, match="5 regions, at most 4"):
        inputs.prepare_regions(regions(5))


def test_rows_of_different_sizes_are_padded_with_zeros(inputs: UniterInputs) -> None:
    few, many = inputs.prepare_regions(regions(1)), inputs.prepare_regions(regions(3, 100.0))
    items = [
        inputs.join([few], "what colour is the cats?", "question"),
        inputs.join([many], "red", "question"),
    ]
    assert [item.sizes for item in items] == [{"text": 9, "regions": 1}, {"text": 3, "regions": 3}]
    assert all(item.role == "fusion" for item in items)
    batch = inputs.collate(items)
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "input_ids": ("int32", (2, 9)),
        "text_mask": ("int32", (2, 9)),
        "region_features": ("float32", (2, 3, WIDTH)),
        "region_positions": ("float32", (2, 3, 7)),
        "region_mask": ("int32", (2, 3)),
    }
    assert batch["input_ids"][1].tolist() == [2, 12, 3, 0, 0, 0, 0, 0, 0]
    assert batch["text_mask"].sum(axis=1).tolist() == [9, 3]
    assert batch["region_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch["region_features"][0].tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(batch["region_positions"][1], regions(3).positions)
    assert not batch["region_positions"][0, 1:].any()


def test_a_small_batch_is_padded_to_what_the_graph_takes(inputs: UniterInputs) -> None:
    item = inputs.join([inputs.prepare_regions(regions(1))], "red", "question")
    batch = inputs.collate([item])
    assert batch["input_ids"].tolist() == [[2, 12, 3, 0]]
    assert batch["region_mask"].tolist() == [[1, 0]]
    bucketed = inputs.collate([item, item], {"text": [6, 10], "regions": [3, 4]})
    assert bucketed["input_ids"].shape == (2, 6)
    assert bucketed["region_features"].shape == (2, 3, WIDTH)


def test_two_pictures_have_sizes_of_their_own(pair_reader: Deployment, assets_dir: Path) -> None:
    inputs = UniterInputs.from_deployment(pair_reader, assets_dir, pictures=2)
    left, right = inputs.prepare_regions(regions(1)), inputs.prepare_regions(regions(3, 50.0))
    item = inputs.join([left, right], "red cat", "statement")
    assert item.sizes == {"text": 4, "left_regions": 1, "right_regions": 3}
    batch = inputs.collate([item, inputs.join([right, left], "red", "statement")])
    assert batch.keys() == {
        *("input_ids", "text_mask"),
        *(f"{side}region_{name}" for side in ("left_", "right_") for name in ("features", "positions", "mask")),
    }
    assert batch["left_region_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch["right_region_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["left_region_features"][:, 0, 0].tolist() == [1, 50]
    assert batch["right_region_features"][:, 0, 0].tolist() == [50, 1]
    with pytest.raises(ValueError, match="shorter"):
        inputs.join([left], "red", "statement")


@pytest.mark.parametrize("text", ["\x00", "\u200b", ""])
def test_a_text_without_a_readable_character_is_refused(inputs: UniterInputs, text: str) -> None:
    image = inputs.prepare_regions(regions(1))
    with pytest.raises(InvalidArgumentError, match="phrase: holds no readable character") as caught:
        inputs.join([image], text, "phrase")
    assert caught.value.field == "phrase"


def test_a_text_is_cut_by_tokens_and_refused_by_characters(reader: Deployment, assets_dir: Path) -> None:
    inputs = UniterInputs.from_deployment(reader, assets_dir, TextLimits(max_chars=60))
    image = inputs.prepare_regions(regions(1))
    assert inputs.join([image], "cat " * 15, "text").sizes["text"] == 10
    with pytest.raises(TooLargeError, match="text: 64 characters"):
        inputs.join([image], "cat " * 16, "text")
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        inputs.join([image], "cat \udc00", "text")


@pytest.mark.parametrize(
    ("axis", "message"), [("text", "'text' ends at 3, .* up to 10"), ("regions", "'regions' ends at 3, .* up to 4")]
)
def test_processors_that_give_more_than_the_graph_takes(
    reader: Deployment, assets_dir: Path, axis: str, message: str
) -> None:
    axes = {**reader.axes, axis: AxisLimit(1, 2, 3)}
    with pytest.raises(ArtifactError, match=message):
        UniterInputs.from_deployment(dataclasses.replace(reader, axes=axes), assets_dir)


def test_each_side_of_a_pair_must_fit(pair_reader: Deployment, assets_dir: Path) -> None:
    axes = {**pair_reader.axes, "right_regions": AxisLimit(1, 2, 3)}
    with pytest.raises(ArtifactError, match="'right_regions' ends at 3"):
        UniterInputs.from_deployment(dataclasses.replace(pair_reader, axes=axes), assets_dir, pictures=2)


def test_settings_and_assets_are_strict(reader: Deployment, assets_dir: Path) -> None:
    with pytest.raises(ArtifactError, match=r"deployment\.image: unknown key crop"):
        UniterInputs.from_deployment(dataclasses.replace(reader, image={**reader.image, "crop": 1}), assets_dir)
    with pytest.raises(ArtifactError, match=r"deployment\.text"):
        UniterInputs.from_deployment(dataclasses.replace(reader, text={"type": "clip", "max_length": 9}), assets_dir)
    (assets_dir / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        UniterInputs.from_deployment(reader, assets_dir)


def test_prepared_pictures_are_told_apart_by_their_regions(inputs: UniterInputs) -> None:
    images = [inputs.prepare_regions(own) for own in (regions(2), regions(2), regions(2, 5.0), regions(3))]
    assert images[0] == images[1]
    assert len({image.digest for image in images}) == 3
    assert isinstance(images[0], PreparedImage)
