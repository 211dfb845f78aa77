from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vlp_pipeline.detector_boxes import suppress_duplicates
from vlp_pipeline.detector_selection import select_regions
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import InferenceError

SETTINGS = DetectorSettings.bottom_up_attention()


def _reference(boxes: np.ndarray, scores: np.ndarray, settings: DetectorSettings) -> tuple[list[int], np.ndarray]:
    """As the published script goes: class by class, a box's confidence is the best score that survives."""
    confidence = np.zeros(len(boxes), np.float32)
    for number in range(scores.shape[1] - 1):
        kept = suppress_duplicates(boxes, scores[:, number], settings.class_max_iou, len(boxes))
        confidence[kept] = np.maximum(confidence[kept], scores[kept, number])
    count = int((confidence >= settings.min_score).sum())
    count = min(max(count, settings.min_regions), settings.max_regions, len(boxes))
    return np.argsort(-confidence, kind="stable")[:count].tolist(), confidence


@pytest.mark.parametrize("sharpness", [0.01, 0.05, 0.3, 5.0])
@pytest.mark.parametrize(("least", "most"), [(10, 100), (36, 36), (1, 5)])
def test_regions_are_those_of_the_published_script(sharpness: float, least: int, most: int) -> None:
    rng = np.random.default_rng(7)
    corners = rng.uniform(0, 200, (90, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 120, (90, 2))], axis=1).astype(np.float32)
    scores = rng.dirichlet(np.full(31, sharpness), 90).astype(np.float32)
    settings = replace(SETTINGS, min_regions=least, max_regions=most)
    chosen, confidence = select_regions(boxes, scores, settings)
    expected, all_confidence = _reference(boxes, scores, settings)
    assert chosen.tolist() == expected
    assert np.array_equal(confidence, all_confidence[chosen])
    assert (np.diff(confidence) <= 0).all()


def test_no_more_regions_than_proposals() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [30, 30, 40, 40]], np.float32)
    scores = np.array([[0.6, 0.4], [0.5, 0.5], [0.01, 0.99]], np.float32)
    chosen, confidence = select_regions(boxes, scores, SETTINGS)
    # The second is a duplicate in the only class: it comes last, without any confidence.
    assert chosen.tolist() == [0, 2, 1]
    assert confidence.tolist() == pytest.approx([0.6, 0.01, 0])


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InferenceError, match="not finite"):
        select_regions(np.zeros((1, 4), np.float32), np.array([[np.nan, 0.5]], np.float32), SETTINGS)
