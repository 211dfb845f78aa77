from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from vlp_pipeline.detector_boxes import (
    MAX_LOG_GROWTH,
    clip_boxes,
    decode_boxes,
    pairwise_iou,
    suppress_duplicates,
    suppress_duplicates_by_class,
)


def _boxes(count: int, seed: int, side: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, side, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, side / 2, (count, 2))], axis=1).astype(np.float32)


def _onnx_suppression(boxes: np.ndarray, scores: np.ndarray, max_iou: float, max_kept: int) -> np.ndarray:
    """onnxruntime's NonMaxSuppression: (kept, 2), class and box, class by class; scores (C, N)."""
    constants = {"most": np.int64(max_kept), "iou": np.float32(max_iou)}
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["kept"])],
        "suppression",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, None, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, None, None]),
        ],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3])],
        [
            helper.make_tensor("most", TensorProto.INT64, [1], [constants["most"]]),
            helper.make_tensor("iou", TensorProto.FLOAT, [1], [constants["iou"]]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    kept: np.ndarray = session.run(None, {"boxes": boxes[None], "scores": scores[None]})[0]
    return kept[:, 1:]


def test_overlap_is_shared_area_over_joint_area() -> None:
    left = np.array([[0, 0, 4, 4], [1, 1, 1, 1]], np.float32)
    right = np.array([[2, 2, 6, 6], [0, 0, 4, 4], [10, 10, 12, 12], [1, 1, 1, 1]], np.float32)
    expected = [[4 / 28, 1, 0, 0], [0, 0, 0, 0]]
    assert pairwise_iou(left, right) == pytest.approx(np.array(expected))


def test_regression_moves_by_shares_of_a_side_and_grows_by_powers_of_e() -> None:
    boxes = np.array([[10, 20, 30, 60], [0, 0, 10, 10]], np.float32)
    deltas = np.array([[0.5, -0.25, math.log(2), 0], [0, 0, 99, 0]], np.float32)
    moved = decode_boxes(boxes, deltas)
    # Middle (20, 40) goes to (30, 30); 20 wide becomes 40; 40 high stays.
    assert moved[0] == pytest.approx([10, 10, 50, 50])
    assert moved[1, 2] - moved[1, 0] == pytest.approx(10 * math.exp(MAX_LOG_GROWTH))
    assert decode_boxes(boxes[:1], deltas[:1] * [10, 10, 5, 5], (10, 10, 5, 5))[0] == pytest.approx(moved[0])
    assert clip_boxes(moved, 40, 45)[0].tolist() == pytest.approx([10, 10, 40, 45])


@pytest.mark.parametrize(("count", "max_iou", "most"), [(400, 0.7, 400), (400, 0.3, 25), (3, 0.5, 3), (1, 0.5, 9)])
def test_suppression_keeps_what_onnxruntime_keeps(count: int, max_iou: float, most: int) -> None:
    boxes = _boxes(count, seed=count + most)
    scores = np.random.default_rng(1).permutation(count).astype(np.float32)
    kept = suppress_duplicates(boxes, scores, max_iou, most)
    assert kept.tolist() == _onnx_suppression(boxes, scores[None], max_iou, most)[:, 1].tolist()
    assert len(suppress_duplicates(boxes[:0], scores[:0], max_iou, most)) == 0


def test_of_equal_scores_the_first_box_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    assert suppress_duplicates(boxes, np.zeros(3, np.float32), 0.5, 10).tolist() == [0, 2]


def test_suppression_by_class_keeps_what_onnxruntime_keeps_in_each() -> None:
    boxes = _boxes(60, seed=3)
    scores = np.random.default_rng(2).dirichlet(np.ones(7) * 0.2, 60).astype(np.float32)
    survivors = suppress_duplicates_by_class(pairwise_iou(boxes, boxes), scores, 0.3, 0.0)
    kept = _onnx_suppression(boxes, scores.T.copy(), 0.3, 60)
    expected = np.zeros_like(scores)
    expected[kept[:, 1], kept[:, 0]] = scores[kept[:, 1], kept[:, 0]]
    assert np.array_equal(survivors, expected)


def test_leaving_low_scores_out_changes_nothing_for_high_ones() -> None:
    boxes = _boxes(80, seed=5)
    scores = np.random.default_rng(4).dirichlet(np.ones(9) * 0.3, 80).astype(np.float32)
    overlaps = pairwise_iou(boxes, boxes)
    everything = suppress_duplicates_by_class(overlaps, scores, 0.3, 0.0)
    some = suppress_duplicates_by_class(overlaps, scores, 0.3, 0.25)
    assert np.array_equal(some, np.where(everything >= 0.25, everything, 0))
    assert np.count_nonzero(some) > 10
    assert not suppress_duplicates_by_class(overlaps, scores, 0.3, 1.1).any()
