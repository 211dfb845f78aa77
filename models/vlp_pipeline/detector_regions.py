"""A picture's regions from end to end, over two graphs that somebody else runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vlp_pipeline.detector_image import DetectorImageProcessor, DetectorPicture
from vlp_pipeline.detector_proposals import select_proposals
from vlp_pipeline.detector_selection import select_regions
from vlp_pipeline.detector_settings import DetectorSettings

BACKBONE_ROLE, ROI_HEAD_ROLE = "detector-backbone", "detector-roi-head"
BACKBONE_INPUTS = ("pixels",)
BACKBONE_OUTPUTS = ("feature_map", "objectness", "anchor_deltas")
# Names are of one graph alone: the map that goes in is called otherwise than the map that came out.
ROI_HEAD_INPUTS = ("roi_feature_map", "rois")
ROI_HEAD_OUTPUTS = ("class_scores", "attribute_scores", "region_features", "box_deltas")

Runner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Runs a graph: inputs by name, batch first, to outputs by name."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectedRegions:
    """What a picture shows where; K regions, the most confident first.

    Attributes:
        boxes: (K, 4) float32, x0, y0, x1, y1 as shares of the picture's width and height.
        features: (K, F) float32, pooled before the classifier.
        scores: (K,) float32, the confidence that regions are chosen by.
        class_ids: (K,) int32, the likeliest class; the background is none.
        attribute_ids: (K,) int32, the likeliest attribute; "no attribute" is none.
        soft_labels: (K, 1 + classes) float32, the distribution over classes, the background first as UNITER's
            features have it.
    """

    boxes: np.ndarray
    features: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    attribute_ids: np.ndarray
    soft_labels: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True)
class RegionDetector:
    """The host side of a Faster R-CNN: without state, so any thread may use it.

    The steps between the graphs are methods of their own, for callers that queue each graph's work.
    """

    settings: DetectorSettings

    def prepare(self, pixels: np.ndarray) -> DetectorPicture:
        """Resize a decoded picture: (H, W, 3) uint8 RGB."""
        return DetectorImageProcessor(self.settings).prepare(pixels)

    def propose(self, picture: DetectorPicture, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Proposals from the backbone's outputs for one picture.

        Args:
            picture: the one that was sent.
            outputs: `BACKBONE_OUTPUTS`, each with a batch axis of 1.

        Returns:
            (R, 4) float32, pixels of the resized picture; see `select_proposals`.

        Raises:
            InferenceError: the outputs are not finite.
        """
        return select_proposals(
            outputs["objectness"][0],
            outputs["anchor_deltas"][0],
            self.settings,
            width_px=picture.width_px,
            height_px=picture.height_px,
        )

    def choose(
        self, picture: DetectorPicture, proposals: np.ndarray, outputs: Mapping[str, np.ndarray]
    ) -> DetectedRegions:
        """Regions from the head's outputs for one picture.

        Args:
            picture: the one that was sent.
            proposals: (R, 4) of `propose`.
            outputs: `ROI_HEAD_OUTPUTS`, each with a batch axis of 1 and R regions.

        Raises:
            InferenceError: the scores are not finite.
        """
        class_scores = outputs["class_scores"][0]
        chosen, confidence = select_regions(proposals, class_scores, self.settings)
        sides = np.array([picture.width_px, picture.height_px] * 2, dtype=np.float32)
        distribution = class_scores[chosen]
        return DetectedRegions(
            boxes=np.asarray(proposals[chosen] / sides, dtype=np.float32),
            features=np.asarray(outputs["region_features"][0][chosen], dtype=np.float32),
            scores=np.asarray(confidence, dtype=np.float32),
            class_ids=distribution[:, :-1].argmax(axis=1).astype(np.int32),
            attribute_ids=outputs["attribute_scores"][0][chosen, :-1].argmax(axis=1).astype(np.int32),
            soft_labels=np.roll(distribution, 1, axis=1).astype(np.float32),
        )

    def detect(self, pixels: np.ndarray, run_backbone: Runner, run_roi_head: Runner) -> DetectedRegions:
        """All steps in turn.

        Args:
            pixels: (H, W, 3) uint8, RGB.
            run_backbone: `BACKBONE_INPUTS` to `BACKBONE_OUTPUTS`.
            run_roi_head: `ROI_HEAD_INPUTS` to `ROI_HEAD_OUTPUTS`.
        """
        picture = self.prepare(pixels)
        found = run_backbone({"pixels": picture.pixels})
        proposals = self.propose(picture, found)
        judged = run_roi_head({"roi_feature_map": found["feature_map"], "rois": proposals[None]})
        return self.choose(picture, proposals, judged)
