"""Which proposals become regions: those that some class is sure of, where no better box says the same.

As the features of UNITER were made: boxes stay as proposed (class-wise regression is not applied), duplicates are
suppressed class by class, a box's confidence is the best score that survives, and the most confident boxes are kept.

Source: peteanderson80/bottom-up-attention, tools/extract_feature_to_npz.py; Anderson et al. 2018 (arXiv:1707.07998),
sec. 3.1.
"""

from __future__ import annotations

import numpy as np
from vlp_spec.errors import InferenceError

from vlp_pipeline.detector_boxes import pairwise_iou, suppress_duplicates_by_class
from vlp_pipeline.detector_settings import DetectorSettings

_LOWER = 0.1  # factor of the score below which is looked next, while too few regions are found
_LOWEST = 1e-4


def select_regions(
    proposals: np.ndarray, class_scores: np.ndarray, settings: DetectorSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Choose among proposals.

    Args:
        proposals: (R, 4) float32, pixels.
        class_scores: (R, classes + 1) float32, each row a distribution, the background last.
        settings: thresholds and numbers of regions.

    Returns:
        indices (K,) int64 of the chosen proposals, the most confident first, and their confidence (K,) float32.
        min_regions <= K <= max_regions, and at most R.

    Raises:
        InferenceError: a score is not finite.
    """
    if not np.isfinite(class_scores).all():
        raise InferenceError("the detector's scores are not finite")
    overlaps = pairwise_iou(proposals, proposals)
    wanted = min(settings.min_regions, len(proposals))
    # Scores below the bound cannot change those above it, so few classes are looked at as a rule.
    bound = settings.min_score
    while True:
        surviving = suppress_duplicates_by_class(overlaps, class_scores[:, :-1], settings.class_max_iou, bound)
        confidence = surviving.max(axis=1, initial=0)
        if bound == 0 or np.count_nonzero(confidence >= bound) >= wanted:
            break
        bound = bound * _LOWER if bound * _LOWER >= _LOWEST else 0.0
    order = np.argsort(-confidence, kind="stable")
    sure = int(np.count_nonzero(confidence >= settings.min_score))
    chosen = order[: min(max(sure, settings.min_regions), settings.max_regions)]
    return chosen, confidence[chosen]
