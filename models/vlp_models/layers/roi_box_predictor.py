"""What a region shows: its class, its attribute, and a better box."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RoiLogits(NamedTuple):
    """Of R regions."""

    class_logits: Tensor
    """(R, classes + 1), the background last."""
    attribute_logits: Tensor
    """(R, attributes + 1), "no attribute" last."""
    box_deltas: Tensor
    """(R, 4 * classes), or (R, 4) where all classes share them."""


class RoiBoxPredictor(nn.Module):
    """Linear layers on a region's pooled features; the attribute is judged knowing the class.

    Args:
        in_width: of the features, F, a multiple of 8.
        num_classes: without the background.
        num_attributes: without "no attribute".
        class_agnostic_boxes: one box for all classes.

    Source: Anderson et al. 2018 (arXiv:1707.07998), sec. 3.1; names and the classes' order of the published torch code.
    """

    def __init__(self, in_width: int, num_classes: int, num_attributes: int, *, class_agnostic_boxes: bool) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_width, num_classes + 1)
        self.bbox_pred = nn.Linear(in_width, 4 * (1 if class_agnostic_boxes else num_classes))
        self.cls_embedding = nn.Embedding(num_classes + 1, in_width // 8)
        self.fc_attr = nn.Linear(in_width + in_width // 8, in_width // 4)
        self.attr_score = nn.Linear(in_width // 4, num_attributes + 1)

    def forward(self, features: Tensor, class_ids: Tensor | None = None) -> RoiLogits:
        """Judge regions.

        Args:
            features: (R, F).
            class_ids: (R,) int64, the classes that attributes are judged for; None takes the likeliest.
        """
        class_logits = self.cls_score(features)
        if class_ids is None:
            class_ids = class_logits.argmax(dim=1)
        hidden = torch.cat([features, self.cls_embedding(class_ids)], dim=1)
        attribute_logits = self.attr_score(F.relu(self.fc_attr(hidden)))
        return RoiLogits(class_logits, attribute_logits, self.bbox_pred(features))

    def init_weights(self) -> None:
        """Small normal weights, smallest for the boxes; the values of Fast R-CNN's layers."""
        for layer in (self.cls_score, self.bbox_pred, self.fc_attr, self.attr_score):
            nn.init.normal_(layer.weight, std=0.001 if layer is self.bbox_pred else 0.01)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.cls_embedding.weight, std=0.01)
