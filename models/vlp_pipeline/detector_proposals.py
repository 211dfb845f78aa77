"""From the region proposal network's maps to proposals: the best anchors, regressed, without duplicates.

Source: Ren et al. 2015 (arXiv:1506.01497), sec. 3; the order of the steps is Detectron2's: the best anchors first, then
boxes, clipping, and suppression.
"""

from __future__ import annotations

import numpy as np
from vlp_spec.errors import InferenceError

from vlp_pipeline.detector_anchors import grid_anchors
from vlp_pipeline.detector_boxes import clip_boxes, decode_boxes, suppress_duplicates
from vlp_pipeline.detector_settings import DetectorSettings


def select_proposals(
    objectness: np.ndarray, anchor_deltas: np.ndarray, settings: DetectorSettings, *, width_px: int, height_px: int
) -> np.ndarray:
    """Choose the boxes of a picture that are worth a closer look.

    Args:
        objectness: (A, rows, columns) float32 logits, one for each cell and anchor.
        anchor_deltas: (4 * A, rows, columns) float32, four for each anchor in turn.
        settings: anchors, numbers kept, thresholds.
        width_px: of the resized picture.
        height_px: of the resized picture.

    Returns:
        (R, 4) float32, pixels of the resized picture, the best first; 1 <= R <= settings.post_nms_top_n. Where no box
        is left, the whole picture.

    Raises:
        InferenceError: a value is not finite.
    """
    if not (np.isfinite(objectness).all() and np.isfinite(anchor_deltas).all()):
        raise InferenceError("the detector's proposals are not finite")
    anchors, rows, columns = objectness.shape
    logits = objectness.transpose(1, 2, 0).reshape(-1)
    deltas = anchor_deltas.reshape(anchors, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
    best = np.argsort(-logits, kind="stable")[: settings.pre_nms_top_n]
    cells = np.array(settings.cell_anchors, dtype=np.float32)
    boxes = decode_boxes(grid_anchors(cells, rows, columns, settings.stride_px)[best], deltas[best])
    boxes = clip_boxes(boxes, width_px, height_px)
    is_box = (boxes[:, 2:] - boxes[:, :2] > settings.min_box_side_px).all(axis=1)
    boxes, scores = boxes[is_box], logits[best][is_box]
    kept = suppress_duplicates(boxes, scores, settings.proposal_max_iou, settings.post_nms_top_n)
    if not len(kept):
        return np.array([[0, 0, width_px, height_px]], dtype=np.float32)
    return np.asarray(boxes[kept])
