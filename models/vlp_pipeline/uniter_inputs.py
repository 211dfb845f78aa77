"""What every UNITER pipeline does alike: regions and a text's ids become one row, and rows a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.repository import TOKENIZER_ASSET

from vlp_pipeline.deployment_fit import check_axes
from vlp_pipeline.pipeline import (
    PAIR_PREFIXES,
    TEXT_AXIS,
    Buckets,
    Item,
    Padding,
    PreparedImage,
    join_text,
    pad_batch,
    padded_sizes,
)
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import RegionLimits, Regions, check_region_shape
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, BertTextSettings, TextLimits, TextProcessor, check_text

REGION_AXIS = "regions"
REGION_INPUTS = ("region_features", "region_positions", "region_mask")


@dataclass(frozen=True, slots=True)
class UniterInputs:
    """The processors of one deployment.

    Attributes:
        pictures: 1, or 2 for a model that reads a pair.
        min_sizes: dynamic axis -> the smallest size that the graph takes; smaller batches are padded to it.
    """

    settings: RegionSettings
    text_processor: TextProcessor
    text_limits: TextLimits = DEFAULT_TEXT_LIMITS
    pictures: int = 1
    min_sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_deployment(
        cls, deployment: Deployment, assets_dir: Path, text_limits: TextLimits = DEFAULT_TEXT_LIMITS, pictures: int = 1
    ) -> UniterInputs:
        """Read the deployment's settings and tokenizer.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graph.
        """
        settings = RegionSettings.from_mapping(deployment.image)
        text_settings = BertTextSettings.from_mapping(deployment.text)
        texts = TextProcessor.from_file(assets_dir / TOKENIZER_ASSET, text_settings.max_length)
        made = cls(
            settings,
            texts,
            text_limits,
            pictures,
            {axis: limit.min for axis, limit in deployment.axes.items()},
        )
        sizes = {TEXT_AXIS: texts.max_length, **{f"{p}{REGION_AXIS}": settings.max_regions for p in made.prefixes}}
        check_axes(deployment, sizes)
        return made

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What stands before the names of each picture's inputs."""
        return ("",) if self.pictures == 1 else PAIR_PREFIXES

    @property
    def region_limits(self) -> RegionLimits:
        """What the model takes of a caller."""
        return RegionLimits(feature_width=self.settings.region_size, max_regions=self.settings.max_regions)

    def prepare_regions(self, regions: Regions) -> PreparedImage:
        """Regions as the graph takes them.

        Raises:
            InvalidArgumentError: features of another width.
            TooLargeError: more regions than the model reads.
        """
        check_region_shape("features", regions.features.shape, self.region_limits)
        arrays = {
            "region_features": regions.features,
            "region_positions": regions.positions,
            "region_mask": np.ones(len(regions), dtype=np.int32),
        }
        return PreparedImage(regions.digest(), arrays, {REGION_AXIS: len(regions)})

    def join(self, images: Sequence[PreparedImage], text: str, name: str) -> Item:
        """A text with the regions of its picture, or of its two, as one row; a long text is cut.

        Args:
            images: as many as `pictures`, of `prepare_regions`.
            text: as the caller sent it.
            name: what to call it in messages.

        Raises:
            InvalidArgumentError: the text holds nothing that can be read.
            TooLargeError: it is over its limit.
        """
        check_text(text, name, self.text_limits)
        ids = self.text_processor.encode(text)
        if len(ids) == 2:
            raise InvalidArgumentError(f"{name}: holds no readable character; say something", field=name)
        return join_text(ids, images, self.prefixes)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack rows into the graph's inputs, padded axis by axis."""
        paddings = {
            "input_ids": Padding(TEXT_AXIS, self.text_processor.pad_id),
            "text_mask": Padding(TEXT_AXIS),
        }
        for prefix in self.prefixes:
            paddings |= {f"{prefix}{name}": Padding(f"{prefix}{REGION_AXIS}") for name in REGION_INPUTS}
        return pad_batch(items, paddings, padded_sizes(items, self.min_sizes, buckets))
