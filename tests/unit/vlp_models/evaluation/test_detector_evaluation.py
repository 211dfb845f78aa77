from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from vlp_models.data.detector_pictures import NO_ATTRIBUTE, DetectorExample
from vlp_models.evaluation.detector_evaluation import evaluate_detector
from vlp_models.evaluation.detector_runners import detector_of, torch_runners
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_pipeline.detector_regions import DetectedRegions
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError


def _example(boxes: list[list[float]], classes: list[int], attributes: list[int]) -> DetectorExample:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16)).save(buffer, "PNG")
    return DetectorExample(
        buffer.getvalue(),
        (32, 16),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(attributes, np.int64),
    )


def _detect(pixels: np.ndarray) -> DetectedRegions:
    assert pixels.shape == (16, 32, 3)
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 0.9], [0, 0, 0.5, 0.1]], np.float32)
    ids = np.array([1, 2, 3], np.int32)
    return DetectedRegions(boxes, np.zeros((3, 1), np.float32), np.ones(3, np.float32), ids, ids - 1, np.zeros((3, 4)))


def test_recall_counts_true_boxes_and_accuracy_the_found_ones() -> None:
    examples = [
        _example([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], [1, 0], [0, 1]),
        _example([[0, 0.1, 0.5, 0.5], [0.9, 0, 1, 0.1]], [1, 1], [NO_ATTRIBUTE, 0]),
        _example([], [], []),
    ]
    scores = evaluate_detector(_detect, examples)
    assert (scores.pictures, scores.things, scores.regions_per_picture) == (3, 4, 3)
    assert scores.recall == pytest.approx(3 / 4)
    assert scores.class_accuracy == pytest.approx(2 / 3)
    assert scores.attribute_accuracy == pytest.approx(2 / 2)
    assert scores.mean_iou == pytest.approx((1 + 0.8 + 0.8) / 3)


def test_nothing_to_find_is_refused() -> None:
    with pytest.raises(ArtifactError, match="no true box"):
        evaluate_detector(_detect, [_example([], [], [])])


def test_a_torch_model_detects() -> None:
    torch.manual_seed(0)
    config = replace(FasterRcnnConfig.scenes(3, 2), stem_width=4, res2_width=4, bottleneck_width=2, rpn_width=4)
    model = FasterRcnn(config)
    model.init_weights()
    settings = model.anchored(
        DetectorSettings(((0.0, 0.0, 1.0, 1.0),), shorter_edge=32, longer_edge=64, pixel_dtype="uint8")
    )
    detect = detector_of(settings, *torch_runners(model.eval()))
    regions = detect(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8))
    assert 1 <= len(regions) <= 100
    assert regions.features.shape == (len(regions), 32)
    assert regions.soft_labels.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert ((regions.boxes >= 0) & (regions.boxes <= 1)).all()
