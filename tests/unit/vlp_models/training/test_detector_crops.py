from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from vlp_models.data.detector_pictures import NO_ATTRIBUTE, DetectorExample
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.training.detector_crops import CropRecipe, crop_batch, pretrain_on_crops
from vlp_spec.errors import ConfigError

COLOURS = np.array([(230, 30, 30), (40, 60, 230), (20, 200, 40)], dtype=np.uint8)
GREY = 120
RECIPE = CropRecipe(steps=30, batch_size=12, lr=1e-2, window_px=32, shift_px=4)
CONFIG = replace(
    FasterRcnnConfig.scenes(3, 2),
    stem_width=8,
    res2_width=8,
    bottleneck_width=4,
    depths=(1, 1, 1),
    res5_depth=1,
    rpn_width=8,
    roi_resolution=4,
    anchor_sizes_px=(24.0,),
)


def example(seed: int, size: tuple[int, int] = (96, 64)) -> DetectorExample:
    """Two rectangles of different colours on grey, one in each half; the colour is the class, its attribute is 1."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), GREY, np.uint8)
    colours = rng.permutation(3)[:2]
    boxes = []
    for half, colour in enumerate(colours):
        x0, y0 = rng.integers(1, [22, 40]) + [half * size[0] // 2, 0]
        x1, y1 = (x0, y0) + rng.integers(10, 23, size=2)
        pixels[y0:y1, x0:x1] = COLOURS[colour]
        boxes.append([x0, y0, x1, y1])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    shares = np.array(boxes, np.float32) / np.array(size * 2, np.float32)
    attributes = np.where(colours == 2, NO_ATTRIBUTE, 1)
    return DetectorExample(buffer.getvalue(), size, shares, colours.astype(np.int64), attributes.astype(np.int64))


EMPTY = replace(
    example(0), boxes=np.zeros((0, 4), np.float32), class_ids=np.zeros(0, np.int64), attribute_ids=np.zeros(0, np.int64)
)
EXAMPLES = [EMPTY, *(example(seed) for seed in range(12)), EMPTY]


def model() -> FasterRcnn:
    torch.manual_seed(0)
    made = FasterRcnn(CONFIG)
    made.init_weights()
    return made.train()


def test_crops_have_their_shapes_and_types() -> None:
    batch = crop_batch(EXAMPLES, RECIPE, seed=0, number=0)
    found = [(array.dtype.name, array.shape) for array in batch]
    assert found == [("uint8", (12, 3, 32, 32)), ("float32", (12, 4)), ("int64", (12,)), ("int64", (12,))]
    odd = crop_batch(EXAMPLES, replace(RECIPE, batch_size=5), seed=0, number=0)
    assert len(odd.pixels) == len(odd.boxes_px) == len(odd.class_ids) == len(odd.attribute_ids) == 5


def test_boxes_lie_on_their_things() -> None:
    for number in range(8):
        batch = crop_batch(EXAMPLES, RECIPE, seed=3, number=number)
        for pixels, box, class_id, attribute in zip(*batch, strict=True):
            # Blue, green, red: the other way round than the picture's.
            is_thing = (pixels == COLOURS[class_id][::-1, None, None]).all(axis=0)
            rows, columns = (np.flatnonzero(is_thing.any(axis=axis)) for axis in (1, 0))
            shown = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            sides = shown[2:] - shown[:2]
            # The whole thing is in the crop, as things of up to 22 pixels are in windows of 32 with shifts of up to 4.
            assert is_thing.sum() == sides.prod()
            assert (np.abs(box - shown) <= 0.1 * np.tile(sides, 2) + 1e-3).all()
            assert (np.abs(shown[:2] + sides / 2 - 16) <= RECIPE.shift_px + 1).all()
            assert attribute == (NO_ATTRIBUTE if class_id == 2 else 1)


def test_a_batch_is_a_function_of_the_seed_and_its_number() -> None:
    first = crop_batch(EXAMPLES, RECIPE, seed=0, number=5)
    crop_batch(EXAMPLES, RECIPE, seed=0, number=6)
    for one, other in zip(first, crop_batch(EXAMPLES, RECIPE, seed=0, number=5), strict=True):
        np.testing.assert_array_equal(one, other)
    for seed, number in ((1, 5), (0, 6)):
        assert not np.array_equal(first.boxes_px, crop_batch(EXAMPLES, RECIPE, seed=seed, number=number).boxes_px)


def test_a_thing_in_the_corner_of_a_small_picture_has_a_whole_crop() -> None:
    pixels = np.full((20, 24, 3), GREY, np.uint8)
    pixels[:6, 18:] = COLOURS[0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    box = np.array([[0.75, 0, 1, 0.3]], np.float32)
    corner = DetectorExample(buffer.getvalue(), (24, 20), box, np.array([0]), np.array([0]))
    batch = crop_batch([corner], replace(RECIPE, batch_size=40, shift_px=16), seed=0, number=0)
    assert batch.pixels.shape == (40, 3, 32, 32)
    for crop, own in zip(batch.pixels, batch.boxes_px, strict=True):
        # Beyond the edge the picture goes on as it ends, so the thing's two free sides are where the box says.
        is_thing = (crop == COLOURS[0][::-1, None, None]).all(axis=0)
        assert abs(int(is_thing.any(axis=0).argmax()) - np.clip(own[0], 0, 32)) <= 1.6
        assert abs(int(is_thing.any(axis=1).sum()) - np.clip(own[3], 0, 32)) <= 1.6


def test_the_classifier_learns_colours() -> None:
    made = model()
    start = pretrain_on_crops(model(), EXAMPLES, replace(RECIPE, steps=1), seed=1)
    end = pretrain_on_crops(made, EXAMPLES, replace(RECIPE, steps=60), seed=1)
    last = pretrain_on_crops(made, EXAMPLES, replace(RECIPE, steps=1, lr=1e-9), seed=2)
    assert last["crop_loss"] < 0.3 * start["crop_loss"]
    assert last["crop_accuracy"] == 1.0
    assert start["crop_accuracy"] < 0.8
    assert last["crop_loss"] < end["crop_loss"] < start["crop_loss"]  # the mean over all of its steps


def test_equal_seeds_give_equal_weights() -> None:
    one, other = model(), model()
    for made in (one, other):
        pretrain_on_crops(made, EXAMPLES, replace(RECIPE, steps=3), seed=1)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    changed = [name for name, value in model().state_dict().items() if not torch.equal(value, one.state_dict()[name])]
    assert any(name.startswith("backbone.stem") for name in changed)
    assert any("res5" in name for name in changed)
    assert any("attr" in name for name in changed)
    # What crops say nothing of stays as it is.
    assert not any(name.startswith("proposal_generator") or "bbox" in name for name in changed)


def test_no_steps_leave_the_weights_alone() -> None:
    made = model()
    assert pretrain_on_crops(made, EXAMPLES, replace(RECIPE, steps=0), seed=1) == {}
    for name, value in model().state_dict().items():
        assert torch.equal(value, made.state_dict()[name]), name


def test_recipes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        CropRecipe(steps=-1, batch_size=1, lr=0.0, window_px=8, shift_px=-1)
    assert len(caught.value.faults) == 5
    with pytest.raises(ConfigError, match=r"crops\.shift_px: expected at most half of window_px, 32, got 17"):
        replace(RECIPE, shift_px=17)
