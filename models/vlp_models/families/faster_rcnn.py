"""Faster R-CNN with a ResNet C4 backbone and attributes: the detector of bottom-up attention.

Two parts export: pixels to maps, and map with boxes to what the boxes show. What lies between them (proposals) and
after them (regions) is `vlp_pipeline.detector_regions`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from vlp_pipeline.detector_settings import DetectorSettings

from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.layers.region_proposals_head import RegionProposalNetwork
from vlp_models.layers.resnet_bottleneck import bottleneck_stage
from vlp_models.layers.resnet_c4 import ResnetC4
from vlp_models.layers.roi_box_predictor import RoiBoxPredictor, RoiLogits
from vlp_models.layers.roi_max_pool import roi_max_pool


class BackboneOutput(NamedTuple):
    """Of B pictures; h rows and w columns of cells, A anchors a cell."""

    feature_map: Tensor
    """(B, C, h, w), not negative."""
    objectness: Tensor
    """(B, A, h, w) logits."""
    anchor_deltas: Tensor
    """(B, 4 * A, h, w), four for each anchor in turn."""


class RoiOutput(NamedTuple):
    """Of R boxes in each of B pictures."""

    class_scores: Tensor
    """(B, R, classes + 1), a distribution, the background last."""
    attribute_scores: Tensor
    """(B, R, attributes + 1), a distribution, "no attribute" last."""
    features: Tensor
    """(B, R, F): res5's mean over a box, what models of the field read."""
    box_deltas: Tensor
    """(B, R, 4 * classes), or (B, R, 4) where all classes share them."""


class RoiHeads(nn.Module):
    """The fifth stage of the ResNet on pooled boxes, and the predictor on its mean."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.res5 = bottleneck_stage(
            config.res5_depth,
            config.map_width,
            config.bottleneck_width * 8,
            config.feature_width,
            stride=config.res5_stride,
            dilation=config.res5_dilation,
            stride_in_1x1=config.stride_in_1x1,
        )
        self.box_predictor = RoiBoxPredictor(
            config.feature_width,
            config.num_classes,
            config.num_attributes,
            class_agnostic_boxes=config.class_agnostic_boxes,
        )

    def features(self, pooled: Tensor) -> Tensor:
        """Pooled boxes (R, C, P, P) to features (R, F)."""
        return self.res5(pooled).mean(dim=(2, 3))


class FasterRcnn(nn.Module):
    """The region detector. Parameter names are those of the published torch weights (Detectron2's).

    Source: Ren et al. 2015 (arXiv:1506.01497); Anderson et al. 2018 (arXiv:1707.07998), sec. 3.1; names and shapes of
    huggingface/transformers-research-projects, lxmert/modeling_frcnn.py.
    """

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResnetC4(
            config.stem_width,
            res2_width=config.res2_width,
            bottleneck_width=config.bottleneck_width,
            depths=config.depths,
            strides=config.strides,
            stride_in_1x1=config.stride_in_1x1,
        )
        self.proposal_generator = RegionProposalNetwork(
            config.map_width,
            config.rpn_width,
            anchor_sizes_px=config.anchor_sizes_px,
            anchor_ratios=config.anchor_ratios,
        )
        self.roi_heads = RoiHeads(config)
        self.freeze_norms()

    @property
    def cell_anchors(self) -> Tensor:
        """(A, 4) float32 around the origin, in pixels; stored with the weights, so a published file has its own."""
        return self.proposal_generator.anchor_generator.cells

    def anchored(self, settings: DetectorSettings) -> DetectorSettings:
        """`settings` with this model's anchors and stride."""
        cells = tuple(tuple(cell) for cell in self.cell_anchors.tolist())
        return dataclasses.replace(settings, cell_anchors=cells, stride_px=self.config.stride_px)

    def init_weights(self) -> None:
        """Initialise for training from scratch; call it once, after construction.

        The last norm of each block begins at 0, so that a block begins as its shortcut (Goyal et al. 2017,
        arXiv:1706.02677, sec. 5.1).
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.0 if name.endswith("conv3.norm") else 1.0)
                nn.init.zeros_(module.bias)
        self.proposal_generator.rpn_head.init_weights()
        self.roi_heads.box_predictor.init_weights()

    def norms(self) -> Iterator[nn.BatchNorm2d]:
        """Every batch norm."""
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))

    def freeze_norms(self) -> None:
        """Where the configuration says so, keep the norms as they are; again needed after loading weights."""
        if self.config.frozen_norm:
            for norm in self.norms():
                norm.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FasterRcnn:
        """As nn.Module, but frozen norms stay in evaluation mode."""
        super().train(mode)
        self.freeze_norms()
        return self

    def backbone_and_rpn(self, pixels: Tensor) -> BackboneOutput:
        """Pictures to feature map and judged anchors.

        Args:
            pixels: (B, 3, H, W) uint8 or float in 0 to 255; blue, green, red. Pictures of one size: padding changes
                what the cells near it see.
        """
        feature_map = self.backbone(self.normalise(pixels))
        return BackboneOutput(feature_map, *self.proposal_generator(feature_map))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Take off the mean and divide: (B, 3, H, W) uint8 or float to the dtype of the weights."""
        dtype = self.backbone.stem.conv1.weight.dtype
        mean, std = (
            torch.tensor(values, dtype=dtype, device=pixels.device)[:, None, None]
            for values in (self.config.pixel_mean, self.config.pixel_std)
        )
        return (pixels.to(dtype) - mean) / std

    def pool_rois(self, feature_map: Tensor, rois: Tensor) -> Tensor:
        """Pool boxes (R, 5), each the picture's number and x0, y0, x1, y1 in pixels: (R, C, P, P)."""
        return roi_max_pool(feature_map, rois, resolution=self.config.roi_resolution, stride_px=self.config.stride_px)

    def judge_pooled(self, pooled: Tensor, class_ids: Tensor | None = None) -> tuple[Tensor, RoiLogits]:
        """Features (R, F) and logits of pooled boxes (R, C, P, P).

        Args:
            pooled: of `pool_rois`.
            class_ids: (R,) int64, the true classes, that the attributes are judged for while training.
        """
        features = self.roi_heads.features(pooled)
        return features, self.roi_heads.box_predictor(features, class_ids)

    def roi_head(self, feature_map: Tensor, rois: Tensor) -> RoiOutput:
        """Say what boxes show.

        Args:
            feature_map: (B, C, h, w) of `backbone_and_rpn`.
            rois: (B, R, 4) float32, x0, y0, x1, y1 in pixels of the pictures.
        """
        return self.scored(self.pool_rois(feature_map, numbered_rois(rois)), rois.shape[1])

    def scored(self, pooled: Tensor, num_rois: int) -> RoiOutput:
        """Pooled boxes (B * R, C, P, P) to scores of B pictures with R boxes each."""
        features, logits = self.judge_pooled(pooled)
        return RoiOutput(
            *(
                value.unflatten(0, (-1, num_rois))
                for value in (
                    logits.class_logits.softmax(dim=1),
                    logits.attribute_logits.softmax(dim=1),
                    features,
                    logits.box_deltas,
                )
            )
        )


def numbered_rois(rois: Tensor) -> Tensor:
    """Boxes (B, R, 4) with their picture's number in front, as RoI pooling takes them: (B * R, 5)."""
    batch, count = rois.shape[:2]
    numbers = torch.arange(batch, dtype=rois.dtype, device=rois.device)[:, None, None].expand(batch, count, 1)
    return torch.cat([numbers, rois], dim=2).flatten(0, 1)
