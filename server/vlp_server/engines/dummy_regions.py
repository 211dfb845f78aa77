"""Regions in the dummy family: a model that finds them, and models that read them in place of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vlp_pipeline.pipeline import Buckets, FoundRegions, Item, PreparedImage
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import RegionLimits, Regions, check_region_shape, check_regions
from vlp_pipeline.text import TokenCounter
from vlp_pipeline.vqa import sigmoid
from vlp_spec.deployment import Deployment

from vlp_server.engines.dummy_arrays import DummyArrays, boxes_of, output_of

DUMMY_OBJECTS = ("cat", "dog", "boat", "tree")
DUMMY_COLOURS = ("red", "green", "blue")


class DummyDetectorPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.DetectorPipeline. Equal pictures give equal regions, and any others others."""

    def backbone_item(self, image: PreparedImage) -> Item:
        """A picture for the graph with role "backbone"."""
        return Item(image.arrays, image.sizes, "backbone")

    def proposals_item(self, image: PreparedImage, outputs: Mapping[str, np.ndarray]) -> Item:
        """The made-up places, for the graph with role "roi-head"."""
        rois = boxes_of(output_of(outputs, "corners"))
        return Item({"rois": rois}, {"proposals": len(rois)}, "roi-head")

    def found(self, image: PreparedImage, proposals: Item, outputs: Mapping[str, np.ndarray]) -> FoundRegions:
        """The made-up regions, the most confident first."""
        scores = sigmoid(output_of(outputs, "region_logits"))
        order = np.argsort(-scores, kind="stable")
        features = output_of(outputs, "region_features")[order]
        regions = check_regions(proposals.arrays["rois"][order], features, scores=scores[order])
        objects, colours = len(DUMMY_OBJECTS), len(DUMMY_COLOURS)
        names = [DUMMY_OBJECTS[index] for index in features[:, :objects].argmax(axis=1)]
        attributes = [DUMMY_COLOURS[index] for index in features[:, objects : objects + colours].argmax(axis=1)]
        return FoundRegions(regions, tuple(names), tuple(attributes))


class DummyRegionReader:
    """Another dummy pipeline that is given regions in place of pixels; see vlp_pipeline.pipeline.RegionReader.

    Args:
        pipeline: of the task.
        deployment: its `image` says which regions are read.
    """

    def __init__(self, pipeline: Any, deployment: Deployment) -> None:
        self._pipeline = pipeline
        self.family: str = pipeline.family
        self.text_processor: TokenCounter = pipeline.text_processor
        self.regions = RegionSettings.from_mapping(deployment.image)

    def prepare_regions(self, regions: Regions) -> PreparedImage:
        """Regions as the graph takes them."""
        limits = RegionLimits(feature_width=self.regions.region_size, max_regions=self.regions.max_regions)
        check_region_shape("features", regions.features.shape, limits)
        arrays = {
            "region_features": regions.features,
            "region_positions": regions.positions,
            "region_mask": np.ones(len(regions), dtype=np.int32),
        }
        return PreparedImage(regions.digest(), arrays, {"regions": len(regions)})

    def prepare(self, *given: Any) -> Item:
        """Join what has been prepared and a query, as the task's pipeline does."""
        item: Item = self._pipeline.prepare(*given)
        return item

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items, padded with zeros."""
        batch: dict[str, np.ndarray] = self._pipeline.collate(items, buckets)
        return batch

    def result(self, query: Any, outputs: Mapping[str, np.ndarray]) -> Any:
        """The answer to a query, as the task's pipeline gives it."""
        return self._pipeline.result(query, outputs)

    def score(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The probability that a text fits, where that is the task."""
        return float(self._pipeline.score(outputs))
