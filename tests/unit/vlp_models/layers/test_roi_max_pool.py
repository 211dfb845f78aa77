from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor
from vlp_models.layers import roi_max_pool as module
from vlp_models.layers.roi_max_pool import roi_max_pool


def _onnx_pool(feature_map: Tensor, rois: Tensor, resolution: int, stride_px: int) -> np.ndarray:
    """onnxruntime's MaxRoiPool."""
    node = helper.make_node(
        "MaxRoiPool", ["map", "rois"], ["pooled"], pooled_shape=[resolution] * 2, spatial_scale=1 / stride_px
    )
    graph = helper.make_graph(
        [node],
        "pooling",
        [
            helper.make_tensor_value_info("map", TensorProto.FLOAT, [None] * 4),
            helper.make_tensor_value_info("rois", TensorProto.FLOAT, [None, 5]),
        ],
        [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [None] * 4)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    pooled: np.ndarray = session.run(None, {"map": feature_map.numpy(), "rois": rois.numpy()})[0]
    return pooled


def _rois(count: int, batch: int, width_px: float, height_px: float) -> Tensor:
    """Boxes of every size, some beyond the edges, some whose corners lie half way between cells."""
    rng = np.random.default_rng(count)
    x, y = rng.uniform(-50, width_px + 50, (count, 2)), rng.uniform(-50, height_px + 50, (count, 2))
    x[: count // 4], y[: count // 4] = np.round(x[: count // 4] / 8) * 8, np.round(y[: count // 4] / 8) * 8
    columns = [rng.integers(0, batch, count), x.min(1), y.min(1), x.max(1), y.max(1)]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


@pytest.mark.parametrize(
    ("resolution", "stride_px", "rows", "columns"), [(14, 16, 38, 63), (7, 16, 16, 125), (3, 8, 9, 5), (1, 16, 4, 4)]
)
def test_it_is_onnxruntimes_max_roi_pool_bit_for_bit(resolution: int, stride_px: int, rows: int, columns: int) -> None:
    feature_map = torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(0))
    rois = _rois(200, 2, columns * stride_px, rows * stride_px)
    pooled = roi_max_pool(feature_map, rois, resolution=resolution, stride_px=stride_px)
    assert np.array_equal(pooled.numpy(), _onnx_pool(feature_map, rois, resolution, stride_px))


def test_sizes_whose_bins_float32_makes_longer_are_pooled_as_the_layer_does() -> None:
    # 57 cells in 14 bins: the last bin's end is 14 * (57 / 14) = 57.000004 in float32.
    feature_map = torch.arange(70.0)[None, None, None, :].expand(1, 1, 2, 70).contiguous()
    rois = torch.tensor([[0, 0, 0, 56 * 16, 16]], dtype=torch.float32)
    pooled = roi_max_pool(feature_map, rois, resolution=14, stride_px=16)
    assert pooled[0, 0, 0, -1] == 57
    assert np.array_equal(pooled.numpy(), _onnx_pool(feature_map, rois, 14, 16))


def test_a_box_of_whole_cells_is_pooled_as_adaptive_pooling_does() -> None:
    feature_map = torch.randn(1, 4, 10, 12, generator=torch.Generator().manual_seed(1))
    rois = torch.tensor([[0, 2 * 16, 16, 8 * 16, 5 * 16]], dtype=torch.float32)
    pooled = roi_max_pool(feature_map, rois, resolution=3, stride_px=16)
    expected = torch.nn.functional.adaptive_max_pool2d(feature_map[:, :, 1:6, 2:9], 3)
    assert torch.equal(pooled, expected)


def test_the_gradient_goes_to_the_largest_cell_of_each_bin() -> None:
    generator = torch.Generator().manual_seed(2)
    feature_map = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[1, 0, 0, 90, 60], [0, 20, 30, 70, 95], [1, 40, 40, 41, 41]], dtype=torch.float32)

    def pool(cells: Tensor) -> Tensor:
        return roi_max_pool(cells, rois, resolution=2, stride_px=16)

    assert torch.autograd.gradcheck(pool, (feature_map,), eps=1e-6)
    with torch.no_grad():
        without = pool(feature_map)
    assert torch.equal(pool(feature_map).detach(), without)


def test_parts_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    feature_map = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(3))
    rois = _rois(30, 2, 144, 144)
    whole = roi_max_pool(feature_map, rois, resolution=4, stride_px=16)
    monkeypatch.setattr(module, "_MAX_GATHERED", 7 * 16 * 3)
    assert torch.equal(roi_max_pool(feature_map, rois, resolution=4, stride_px=16), whole)


def test_no_boxes_give_no_rows() -> None:
    assert roi_max_pool(torch.ones(1, 3, 4, 4), torch.zeros(0, 5), resolution=2, stride_px=16).shape == (0, 3, 2, 2)
