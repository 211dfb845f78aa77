import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.detector_pipeline import FasterRcnnPipeline
from vlp_pipeline.detector_regions import BACKBONE_ROLE, ROI_HEAD_ROLE
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.registry import build_pipeline
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef
from vlp_spec.errors import ArtifactError, InferenceError, InvalidImageError, TooLargeError
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

Save = Callable[..., bytes]
CLASSES, ATTRIBUTES = ["cat", "dog"], ["red", "blue"]
SETTINGS = DetectorSettings(
    ((-8.0, -8.0, 8.0, 8.0),),
    shorter_edge=32,
    longer_edge=64,
    pixel_dtype="uint8",
    post_nms_top_n=3,
    min_regions=2,
    max_regions=2,
)


@pytest.fixture
def detector(deployment: Deployment) -> Deployment:
    judged = [("class_scores", len(CLASSES) + 1), ("attribute_scores", len(ATTRIBUTES) + 1)]
    outputs = tuple(TensorSpec(name, "float32", ("batch", "rois", width)) for name, width in judged)
    graphs = tuple(
        GraphRef(role, role, 1, "onnxruntime", {}, (), own)
        for role, own in ((BACKBONE_ROLE, ()), (ROI_HEAD_ROLE, outputs))
    )
    return dataclasses.replace(
        deployment,
        family="faster_rcnn",
        tasks=(Task.REGIONS,),
        graphs=graphs,
        image=SETTINGS.to_mapping(),
        text={},
        axes={"batch": AxisLimit(1, 1, 1)},
    )


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "labels.json").write_text(json.dumps(CLASSES))
    (tmp_path / "attributes.json").write_text(json.dumps(ATTRIBUTES))
    return tmp_path


@pytest.fixture
def pipeline(detector: Deployment, assets: Path) -> FasterRcnnPipeline:
    return cast(FasterRcnnPipeline, build_pipeline(detector, assets))


@pytest.fixture
def wide(save_picture: Save) -> bytes:
    """48x32, so that nothing is resized."""
    return save_picture(Image.new("RGB", (48, 32), (1, 2, 3)), "PNG")


SEEN = {
    "feature_map": np.full((5, 2, 3), 7, np.float32),
    "objectness": np.array([[[1, 2, 9], [3, 4, 5]]], np.float32),
    "anchor_deltas": np.zeros((4, 2, 3), np.float32),
}


def judged(**changed: Any) -> dict[str, np.ndarray]:
    """What the second graph says of three proposals."""
    return {
        "class_scores": np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]], np.float32),
        "attribute_scores": np.array([[0, 0.1, 0.9], [0.2, 0.1, 0.7], [0.1, 0.2, 0.7]], np.float32),
        "region_features": np.arange(6, dtype=np.float32).reshape(3, 2),
        "box_deltas": np.zeros((3, 4), np.float32),
        **changed,
    }


def test_a_picture_goes_through_both_graphs(pipeline: FasterRcnnPipeline, wide: bytes) -> None:
    image = pipeline.prepare_image(wide)
    assert pipeline.family == "faster_rcnn"
    assert image.digest == hashlib.sha256(wide).hexdigest()
    assert image.sizes == {"height": 32, "width": 48}
    assert image.arrays["pixels"].dtype == np.uint8
    assert image.arrays["pixels"][:, 0, 0].tolist() == [3, 2, 1]  # blue, green, red

    first = pipeline.backbone_item(image)
    assert (first.role, first.sizes) == (BACKBONE_ROLE, image.sizes)
    assert pipeline.collate([first])["pixels"].shape == (1, 3, 32, 48)

    proposals = pipeline.proposals_item(image, SEEN)
    assert (proposals.role, proposals.sizes) == (ROI_HEAD_ROLE, {"rows": 2, "columns": 3, "rois": 3})
    # The cells (0, 2), (1, 2), (1, 1) of the map, whose middles are 16 pixels apart.
    expected = [[24, -8, 40, 8], [24, 8, 40, 24], [8, 8, 24, 24]]
    np.testing.assert_allclose(proposals.arrays["rois"], np.clip(expected, 0, [48, 32, 48, 32]))
    batch = pipeline.collate([proposals])
    assert {name: array.shape for name, array in batch.items()} == {
        "roi_feature_map": (1, 5, 2, 3),
        "rois": (1, 3, 4),
    }

    found = pipeline.found(image, proposals, judged())
    assert found.names == ("dog", "cat")
    assert found.attributes == ("blue", "red")
    assert found.regions.scores is not None
    assert found.regions.scores.tolist() == pytest.approx([0.8, 0.5])
    assert found.regions.features.tolist() == [[4, 5], [2, 3]]
    assert found.regions.boxes == pytest.approx(np.array([[8, 8, 24, 24], [24, 8, 40, 24]]) / [48, 32, 48, 32])


def test_a_detector_without_names_gives_none(detector: Deployment, tmp_path: Path, wide: bytes) -> None:
    pipeline = cast(FasterRcnnPipeline, build_pipeline(detector, tmp_path))
    assert (pipeline.classes, pipeline.attributes) == ((), ())
    image = pipeline.prepare_image(wide)
    found = pipeline.found(image, pipeline.proposals_item(image, SEEN), judged())
    assert (found.names, found.attributes) == (("", ""), ("", ""))


@pytest.mark.parametrize(
    "broken",
    [
        {"class_scores": np.full((3, 3), np.nan, np.float32)},
        {"region_features": np.full((3, 2), np.nan, np.float32)},
        {"region_features": np.full((3, 2), np.inf, np.float32)},
    ],
)
def test_outputs_that_are_not_finite_are_the_models_fault(
    pipeline: FasterRcnnPipeline, wide: bytes, broken: dict[str, np.ndarray]
) -> None:
    image = pipeline.prepare_image(wide)
    proposals = pipeline.proposals_item(image, SEEN)
    with pytest.raises(InferenceError):
        pipeline.found(image, proposals, judged(**broken))
    with pytest.raises(InferenceError):
        pipeline.proposals_item(image, {**SEEN, "objectness": np.full((1, 2, 3), np.nan, np.float32)})


def test_what_is_no_picture_or_too_large_is_refused(detector: Deployment, assets: Path, wide: bytes) -> None:
    pipeline = cast(FasterRcnnPipeline, build_pipeline(detector, assets, ImageLimits(max_side=47)))
    with pytest.raises(TooLargeError, match="48x32"):
        pipeline.prepare_image(wide)
    with pytest.raises(InvalidImageError):
        pipeline.prepare_image(b"no picture")


@pytest.mark.parametrize("axes", [{}, {"batch": AxisLimit(1, 2, 8)}])
def test_pictures_come_one_by_one(detector: Deployment, assets: Path, axes: dict[str, AxisLimit]) -> None:
    with pytest.raises(ArtifactError, match="axis 'batch': expected at most 1, pictures differ in size"):
        build_pipeline(dataclasses.replace(detector, axes=axes), assets)


def test_names_that_do_not_fit_the_graph_are_refused(detector: Deployment, assets: Path) -> None:
    (assets / "attributes.json").write_text(json.dumps([*ATTRIBUTES, "green"]))
    with pytest.raises(ArtifactError, match="3 names for attribute_scores and one for nothing, the graph 3"):
        build_pipeline(detector, assets)
    (assets / "labels.json").write_text(json.dumps(["cat"]))
    with pytest.raises(ArtifactError, match="1 names for class_scores and one for nothing, the graph 3"):
        build_pipeline(detector, assets)
    (assets / "labels.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"labels\.json"):
        build_pipeline(detector, assets)


def test_settings_are_strict(detector: Deployment, assets: Path) -> None:
    with pytest.raises(ArtifactError, match=r"deployment\.image: unknown key crop"):
        build_pipeline(dataclasses.replace(detector, image={**detector.image, "crop": 1}), assets)
