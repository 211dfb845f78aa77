"""RoI pooling: the maximum over a fixed grid of bins inside each box of a feature map.

The rounding is that of Caffe's layer, bit for bit, which torchvision's RoIPool and ONNX's MaxRoiPool repeat: corners go
to the nearest cell (halves away from zero), both corners' cells belong to the box, and the bins' edges come from a
product in float32, which for a few sizes reaches one cell further than exact arithmetic would.

Source: Girshick 2015 (arXiv:1504.08083), sec. 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_GATHERED = 1 << 23  # numbers gathered at once


def roi_max_pool(feature_map: Tensor, rois: Tensor, *, resolution: int, stride_px: int) -> Tensor:
    """Pool regions.

    Args:
        feature_map: (B, C, h, w).
        rois: (R, 5) float32: the picture's number in the batch, then x0, y0, x1, y1 in pixels.
        resolution: bins P along each side.
        stride_px: pixels from a cell of the map to the next.

    Returns:
        (R, C, P, P); 0 in bins that hold no cell of the map.
    """
    batch, width, rows, columns = feature_map.shape
    row_cells = _bin_cells(rois[:, 2], rois[:, 4], rows, resolution, stride_px)
    column_cells = _bin_cells(rois[:, 1], rois[:, 3], columns, resolution, stride_px)
    pictures = rois[:, 0].long()
    cells = feature_map.permute(0, 2, 3, 1).reshape(batch * rows * columns, width)
    chunk = max(1, _MAX_GATHERED // (resolution**2 * width))
    pooled = []
    for start in range(0, len(rois), chunk):
        part = slice(start, start + chunk)
        index = (pictures[part, None, None] * rows + row_cells[0][part])[:, :, None, :, None] * columns
        index = index + column_cells[0][part][:, None, :, None, :]
        is_empty = row_cells[1][part][:, :, None] | column_cells[1][part][:, None, :]
        pooled.append(_bin_maxima(cells, index.flatten(3), is_empty))
    if not pooled:
        return feature_map.new_zeros(0, width, resolution, resolution)
    return torch.cat(pooled).permute(0, 3, 1, 2)


def _bin_cells(first_px: Tensor, last_px: Tensor, size: int, bins: int, stride_px: int) -> tuple[Tensor, Tensor]:
    """The cells of every bin along one side: (R, P, K) int64, the last repeated; and whether a bin has none (R, P)."""
    scale = 1.0 / stride_px  # a factor, as in the layer
    first, last = _nearest(first_px.float() * scale), _nearest(last_px.float() * scale)
    bin_size = (last - first + 1).clamp(min=1) / bins
    number = torch.arange(bins, device=first_px.device, dtype=torch.float32)
    begin = ((number * bin_size[:, None]).floor() + first[:, None]).clamp(0, size).long()
    end = (((number + 1) * bin_size[:, None]).ceil() + first[:, None]).clamp(0, size).long()
    most = max(int((end - begin).max()), 1) if len(begin) else 1
    steps = torch.arange(most, device=first_px.device)
    cells = torch.minimum(begin[:, :, None] + steps, end[:, :, None] - 1)
    return cells.clamp(0, size - 1), end <= begin


def _nearest(value: Tensor) -> Tensor:
    """Round halves away from zero; adding a half first would round 0.49999997 up."""
    size = value.abs()
    floor = size.floor()
    return torch.where(size - floor >= 0.5, floor + 1, floor) * value.sign()


def _bin_maxima(cells: Tensor, index: Tensor, is_empty: Tensor) -> Tensor:
    """Maxima over the last axis of `index` (R, P, P, K), rows of `cells` (N, C): (R, P, P, C)."""
    places = index.flatten(0, 2)
    if torch.is_grad_enabled() and cells.requires_grad:
        # The winner is looked up by its place, so that the gradient goes to one cell and nothing else is kept for it.
        best = cells.gather(0, _winners(cells.detach(), places))
    else:
        best = cells.index_select(0, places[:, 0])
        for number in range(1, places.shape[1]):
            best = torch.maximum(best, cells.index_select(0, places[:, number]))
    return best.unflatten(0, index.shape[:3]).masked_fill(is_empty[..., None], 0)


def _winners(cells: Tensor, places: Tensor) -> Tensor:
    """Which of the rows `places` (M, K) of `cells` (N, C) is largest in each channel: (M, C) int64."""
    winners = places[:, :1].expand(-1, cells.shape[1])
    best = cells.index_select(0, places[:, 0])
    for number in range(1, places.shape[1]):
        values = cells.index_select(0, places[:, number])
        winners = torch.where(values > best, places[:, number, None], winners)
        best = torch.maximum(best, values)
    return winners
