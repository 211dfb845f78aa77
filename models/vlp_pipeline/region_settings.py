"""What a model that reads region features says of them in its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlp_pipeline.settings import read_settings


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """`Deployment.image` of a model that reads region features.

    Attributes:
        region_size: numbers of a region's features.
        max_regions: of a picture.
        extractor: the deployment that makes such features of a picture; empty where they are always sent.
        extractor_digest: its encoder digest, hex: features of another one mean something else.
        type: "regions".
    """

    region_size: int
    max_regions: int = 100
    extractor: str = ""
    extractor_digest: str = ""
    type: str = "regions"

    def __post_init__(self) -> None:
        if self.type != "regions":
            raise ValueError(f"type {self.type!r}, expected 'regions'")
        if min(self.region_size, self.max_regions) < 1:
            raise ValueError("region_size and max_regions: expected 1 or more")
        if bool(self.extractor) != bool(self.extractor_digest):
            raise ValueError("extractor and extractor_digest: expected both or neither")

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> RegionSettings:
        """Read `Deployment.image`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        return read_settings(cls, raw, "deployment.image")
