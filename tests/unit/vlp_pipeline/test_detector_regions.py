from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from vlp_pipeline.detector_regions import RegionDetector
from vlp_pipeline.detector_settings import DetectorSettings

SETTINGS = DetectorSettings(
    ((-8.0, -8.0, 8.0, 8.0),),
    shorter_edge=32,
    longer_edge=64,
    pixel_dtype="uint8",
    post_nms_top_n=3,
    min_regions=2,
    max_regions=2,
)


def _run_backbone(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    assert feeds["pixels"].shape == (1, 3, 32, 48)
    objectness = np.array([[[[1, 2, 9], [3, 4, 5]]]], np.float32)
    return {
        "feature_map": np.full((1, 5, 2, 3), 7, np.float32),
        "objectness": objectness,
        "anchor_deltas": np.zeros((1, 4, 2, 3), np.float32),
    }


def _run_roi_head(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    assert (feeds["roi_feature_map"] == 7).all()
    assert feeds["rois"].shape == (1, 3, 4)
    return {
        "class_scores": np.array([[[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]], np.float32),
        "attribute_scores": np.array([[[0, 0.1, 0.9], [0.2, 0.1, 0.7], [0.1, 0.2, 0.7]]], np.float32),
        "region_features": np.arange(6, dtype=np.float32).reshape(1, 3, 2),
        "box_deltas": np.zeros((1, 3, 4), np.float32),
    }


def test_a_pictures_regions_from_end_to_end() -> None:
    detector = RegionDetector(SETTINGS)
    regions = detector.detect(np.zeros((64, 96, 3), np.uint8), _run_backbone, _run_roi_head)
    assert len(regions) == 2
    # Proposals: the cells (0, 2), (1, 2), (1, 1) of the map; the head is surest of the third, then of the second.
    assert regions.boxes == pytest.approx(np.array([[8, 8, 24, 24], [24, 8, 40, 24]]) / [48, 32, 48, 32])
    assert regions.scores.tolist() == pytest.approx([0.8, 0.5])
    assert regions.class_ids.tolist() == [1, 0]
    assert regions.attribute_ids.tolist() == [1, 0]  # "no attribute" is none
    assert regions.features.tolist() == [[4, 5], [2, 3]]
    assert regions.soft_labels == pytest.approx(np.array([[0.1, 0.1, 0.8], [0.2, 0.5, 0.3]]))
    assert {array.dtype for array in (regions.boxes, regions.features, regions.scores)} == {np.dtype(np.float32)}
