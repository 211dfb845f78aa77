"""The region detector as a deployment: settings and assets of its manifest, pictures in, regions out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError, TooLargeError
from vlp_spec.repository import LABELS_ASSET

from vlp_pipeline.deployment_fit import check_width
from vlp_pipeline.detector_image import DetectorPicture
from vlp_pipeline.detector_regions import BACKBONE_ROLE, ROI_HEAD_ROLE, RegionDetector
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits, open_picture
from vlp_pipeline.pipeline import Buckets, FoundRegions, Item, PreparedImage
from vlp_pipeline.regions import RegionLimits, check_regions
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits
from vlp_pipeline.vqa import read_labels

ATTRIBUTES_ASSET = "attributes.json"


@dataclass(frozen=True, slots=True)
class FasterRcnnPipeline:
    """The parts of one deployment; a DetectorPipeline.

    Attributes:
        classes: name of each object class, the background left out; may be none at all.
        attributes: name of each attribute, "no attribute" left out; may be none at all.
    """

    detector: RegionDetector
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS
    family: str = "faster_rcnn"

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> FasterRcnnPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or the graphs cannot take what the settings give.
        """
        detector = RegionDetector(DetectorSettings.from_mapping(deployment.image))
        place = f"deployment {deployment.name}@{deployment.version}"
        if "batch" not in deployment.axes or deployment.axes["batch"].max != 1:
            raise ArtifactError(f"{place}: axis 'batch': expected at most 1, pictures differ in size")
        classes, attributes = (_names(assets_dir / asset) for asset in (LABELS_ASSET, ATTRIBUTES_ASSET))
        for names, output in ((classes, "class_scores"), (attributes, "attribute_scores")):
            if names:  # the background, or "no attribute", has none
                check_width(deployment, output, len(names) + 1, f"{len(names)} names for {output} and one for nothing")
        return cls(detector, classes, attributes, image_limits)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and resize a picture file; see DetectorPipeline."""
        picture = self.detector.prepare(np.asarray(open_picture(data, self.image_limits)))
        sizes = {"height": picture.height_px, "width": picture.width_px}
        return PreparedImage(hashlib.sha256(data).hexdigest(), {"pixels": picture.pixels[0]}, sizes)

    def backbone_item(self, image: PreparedImage) -> Item:
        """A picture as a row of the backbone; see DetectorPipeline."""
        return Item(image.arrays, image.sizes, BACKBONE_ROLE)

    def proposals_item(self, image: PreparedImage, outputs: Mapping[str, np.ndarray]) -> Item:
        """Proposals as a row of the head; see DetectorPipeline."""
        proposals = self.detector.propose(_picture(image), {name: array[None] for name, array in outputs.items()})
        feature_map = outputs["feature_map"]
        sizes = {"rows": feature_map.shape[1], "columns": feature_map.shape[2], "rois": len(proposals)}
        return Item({"roi_feature_map": feature_map, "rois": proposals}, sizes, ROI_HEAD_ROLE)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items; see DetectorPipeline."""
        return {name: np.stack([item.arrays[name] for item in items]) for name in items[0].arrays}

    def found(self, image: PreparedImage, proposals: Item, outputs: Mapping[str, np.ndarray]) -> FoundRegions:
        """The regions; see DetectorPipeline."""
        rows = {name: array[None] for name, array in outputs.items()}
        found = self.detector.choose(_picture(image), proposals.arrays["rois"], rows)
        limits = RegionLimits(max_regions=self.detector.settings.max_regions)
        try:
            regions = check_regions(found.boxes, found.features, scores=found.scores, limits=limits)
        except (InvalidArgumentError, TooLargeError) as error:
            raise InferenceError("model output: the detector's regions are none", detail=error.message) from error
        return FoundRegions(
            regions, _named(self.classes, found.class_ids), _named(self.attributes, found.attribute_ids)
        )


def _names(path: Path) -> tuple[str, ...]:
    return read_labels(path) if path.exists() else ()


def _named(names: tuple[str, ...], ids: np.ndarray) -> tuple[str, ...]:
    return tuple(names[index] if names else "" for index in ids)


def _picture(image: PreparedImage) -> DetectorPicture:
    return DetectorPicture(image.arrays["pixels"][None])
