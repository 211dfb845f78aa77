"""The region proposal network: at every cell and for every anchor, is something there, and where exactly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vlp_pipeline.detector_anchors import cell_anchors

_WEIGHT_STD = 0.01


class RegionProposalHead(nn.Module):
    """A 3 x 3 convolution, and two 1 x 1 ones that judge every anchor of a cell.

    Args:
        in_width: channels of the feature map.
        hidden_width: channels between.
        num_anchors: of a cell.

    Source: Ren et al. 2015 (arXiv:1506.01497), sec. 3.1; names of Detectron2.
    """

    def __init__(self, in_width: int, hidden_width: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, hidden_width, kernel_size=3, padding=1)
        self.objectness_logits = nn.Conv2d(hidden_width, num_anchors, kernel_size=1)
        self.anchor_deltas = nn.Conv2d(hidden_width, 4 * num_anchors, kernel_size=1)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) to objectness logits (B, A, h, w) and deltas (B, 4 * A, h, w), four for each anchor in turn."""
        hidden = F.relu(self.conv(feature_map))
        return self.objectness_logits(hidden), self.anchor_deltas(hidden)

    def init_weights(self) -> None:
        """Small normal weights, so that training starts from the anchors as they are."""
        for layer in (self.conv, self.objectness_logits, self.anchor_deltas):
            nn.init.normal_(layer.weight, std=_WEIGHT_STD)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class AnchorCells(nn.Module):
    """The anchors around the origin, kept with the weights under Detectron2's name `cell_anchors.0`."""

    def __init__(self, sizes_px: Sequence[float], ratios: Sequence[float]) -> None:
        super().__init__()
        self.cell_anchors = nn.Module()
        self.cell_anchors.register_buffer("0", torch.tensor(cell_anchors(sizes_px, ratios).tolist()))

    @property
    def cells(self) -> Tensor:
        """(A, 4) float32, x0, y0, x1, y1 in pixels."""
        return self.cell_anchors.get_buffer("0")


class RegionProposalNetwork(nn.Module):
    """Anchors and the head that judges them.

    Args:
        in_width: channels of the feature map.
        hidden_width: channels of the head.
        anchor_sizes_px: square roots of the anchors' areas.
        anchor_ratios: heights over widths.
    """

    def __init__(
        self, in_width: int, hidden_width: int, *, anchor_sizes_px: Sequence[float], anchor_ratios: Sequence[float]
    ) -> None:
        super().__init__()
        self.anchor_generator = AnchorCells(anchor_sizes_px, anchor_ratios)
        self.rpn_head = RegionProposalHead(in_width, hidden_width, len(anchor_sizes_px) * len(anchor_ratios))

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """As `RegionProposalHead`."""
        return self.rpn_head(feature_map)
