import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.pipeline import PreparedImage
from vlp_pipeline.registry import build_pipeline
from vlp_pipeline.text import TextLimits
from vlp_pipeline.vilt_reasoning import ViltReasoningPipeline
from vlp_spec.deployment import AxisLimit, Deployment
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError, InvalidImageError, TooLargeError
from vlp_spec.tasks import ReasoningQuery, Task
from vlp_spec.tensors import TensorSpec

Save = Callable[..., bytes]
Pictures = tuple[PreparedImage, PreparedImage]


@pytest.fixture
def reasoner(deployment: Deployment) -> Deployment:
    outputs = (TensorSpec("reasoning_logits", "float32", ("batch", 2)),)
    return dataclasses.replace(
        deployment,
        tasks=(Task.REASONING,),
        graphs=(dataclasses.replace(deployment.graphs[0], outputs=outputs),),
        axes={
            **{name: limit for name, limit in deployment.axes.items() if name != "patches"},
            "left_patches": AxisLimit(1, 4, 8),
            "right_patches": AxisLimit(6, 6, 8),
        },
        head={"labels": ["false", "true"]},
    )


@pytest.fixture
def pipeline(reasoner: Deployment, assets_dir: Path) -> ViltReasoningPipeline:
    return cast(ViltReasoningPipeline, build_pipeline(reasoner, assets_dir))


@pytest.fixture
def pictures(pipeline: ViltReasoningPipeline, save_picture: Save) -> Pictures:
    """Of 2x4 and of 2x2 patches."""
    sides = Image.new("RGB", (60, 30), (1, 2, 3)), Image.new("RGB", (30, 30), (4, 5, 6))
    left, right = (pipeline.prepare_image(save_picture(side, "PNG")) for side in sides)
    return left, right


def test_both_pictures_are_in_the_row_under_names_of_their_own(
    pipeline: ViltReasoningPipeline, pictures: Pictures
) -> None:
    item = pipeline.prepare(*pictures, ReasoningQuery("red cat"))
    assert item.sizes == {"text": 4, "left_patches": 8, "right_patches": 4}
    assert item.arrays["left_patches"] is pictures[0].arrays["patches"]
    assert item.arrays["left_grid"].tolist() == [2, 4]
    assert item.arrays["right_grid"].tolist() == [2, 2]
    assert item.arrays["right_patches"][0, :3].tolist() == [4, 5, 6]
    turned = pipeline.prepare(*pictures[::-1], ReasoningQuery("red cat"))
    assert turned.sizes == {"text": 4, "left_patches": 4, "right_patches": 8}


def test_each_side_of_a_batch_is_padded_by_itself(pipeline: ViltReasoningPipeline, pictures: Pictures) -> None:
    left, right = pictures
    items = [
        pipeline.prepare(left, right, ReasoningQuery("what colour is the cats?")),
        pipeline.prepare(right, right, ReasoningQuery("red")),
    ]
    batch = pipeline.collate(items)
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "input_ids": ("int32", (2, 9)),
        "text_mask": ("int32", (2, 9)),
        "left_patches": ("uint8", (2, 8, 48)),
        "left_grid": ("int32", (2, 2)),
        "right_patches": ("uint8", (2, 6, 48)),  # the smallest that the graph takes
        "right_grid": ("int32", (2, 2)),
    }
    assert batch["left_grid"].tolist() == [[2, 4], [2, 2]]
    assert not batch["left_patches"][1, 4:].any()
    assert not batch["right_patches"][:, 4:].any()
    assert batch["text_mask"].sum(axis=1).tolist() == [9, 3]
    buckets = {"text": [10], "left_patches": [8], "right_patches": [7, 8]}
    assert pipeline.collate(items, buckets)["right_patches"].shape == (2, 7, 48)


def test_the_truth_is_the_second_logits_share(pipeline: ViltReasoningPipeline) -> None:
    query = ReasoningQuery("red")
    result = pipeline.result(query, {"reasoning_logits": np.array([1, 3], np.float32)})
    assert (result.label, result.score) == (True, pytest.approx(1 / (1 + np.exp(-2))))
    for outputs in ({}, {"reasoning_logits": np.zeros(3)}, {"reasoning_logits": np.array([0, np.nan])}):
        with pytest.raises(InferenceError, match="reasoning_logits"):
            pipeline.result(query, outputs)


def test_statements_that_cannot_be_read_are_refused(reasoner: Deployment, assets_dir: Path, pictures: Pictures) -> None:
    pipeline = cast(ViltReasoningPipeline, build_pipeline(reasoner, assets_dir, text_limits=TextLimits(max_chars=60)))
    with pytest.raises(InvalidArgumentError, match="statement: holds no readable character") as caught:
        pipeline.prepare(*pictures, ReasoningQuery("\x00"))
    assert caught.value.field == "statement"
    with pytest.raises(TooLargeError, match="statement: 64 characters"):
        pipeline.prepare(*pictures, ReasoningQuery("cat " * 16))
    assert pipeline.prepare(*pictures, ReasoningQuery("cat " * 15)).sizes["text"] == 10


def test_picture_limits_are_the_pipelines(reasoner: Deployment, assets_dir: Path, save_picture: Save) -> None:
    pipeline = cast(ViltReasoningPipeline, build_pipeline(reasoner, assets_dir, ImageLimits(max_side=29)))
    with pytest.raises(TooLargeError, match="30x30"):
        pipeline.prepare_image(save_picture(Image.new("RGB", (30, 30)), "PNG"))
    with pytest.raises(InvalidImageError):
        pipeline.prepare_image(b"no picture")


@pytest.mark.parametrize("axis", ["text", "left_patches", "right_patches"])
def test_processors_that_give_more_than_the_graph_takes(axis: str, reasoner: Deployment, assets_dir: Path) -> None:
    axes = {**reasoner.axes, axis: AxisLimit(1, 2, 3)}
    with pytest.raises(ArtifactError, match=f"axis '{axis}' ends at 3, its processor gives up to"):
        build_pipeline(dataclasses.replace(reasoner, axes=axes), assets_dir)


def test_a_manifest_without_sides_is_refused(reasoner: Deployment, assets_dir: Path) -> None:
    with pytest.raises(ArtifactError, match=r"deployment\.head\.labels"):
        build_pipeline(dataclasses.replace(reasoner, head={}), assets_dir)
    (assets_dir / "labels.json").unlink()  # none are needed
    build_pipeline(reasoner, assets_dir)
    (assets_dir / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        build_pipeline(reasoner, assets_dir)
