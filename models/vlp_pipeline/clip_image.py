"""The picture processor of CLIP and SigLIP: resize, perhaps crop the centre, and leave the rest to the graph.

CLIP resizes the shorter side and crops the centre; SigLIP resizes both sides, whatever the shape. Pixels are those of
transformers' CLIPImageProcessor and SiglipImageProcessor (their PIL backends) before rescaling and normalisation, which
the graph does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlp_pipeline.settings import read_settings

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MAX_ASPECT = 4
"""Beyond it only what the crop keeps is resized: a picture of 1x16000 pixels would become one of 800 million."""


@dataclass(frozen=True, slots=True)
class ClipImageSettings:
    """How a picture is made to fit; all in pixels.

    Attributes:
        height: of what the model reads.
        width: likewise.
        shortest_edge: target of the shorter side before the centre is cropped; 0 resizes both sides and crops nothing.
        resample: a name of RESAMPLING; all but "nearest" are antialiased.
        type: "clip".
    """

    height: int
    width: int
    shortest_edge: int = 0
    resample: str = "bicubic"
    type: str = "clip"

    def __post_init__(self) -> None:
        if self.type != "clip":
            raise ValueError(f"type {self.type!r}, expected 'clip'")
        if self.resample not in RESAMPLING:
            raise ValueError(f"resample {self.resample!r} is none of {', '.join(RESAMPLING)}")
        if min(self.height, self.width) < 1:
            raise ValueError(f"height and width: got {self.height} and {self.width}, expected 1 or more")
        if self.shortest_edge and self.shortest_edge < max(self.height, self.width):
            raise ValueError(
                f"shortest_edge {self.shortest_edge} is smaller than the crop of {self.width}x{self.height} pixels"
            )

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ClipImageSettings:
        """Read `Deployment.image`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        return read_settings(cls, raw, "deployment.image")


class ClipImageProcessor:
    """Resizes and crops pictures; without state, so any thread may use it."""

    def __init__(self, settings: ClipImageSettings) -> None:
        self.settings = settings

    def pixels(self, picture: Image.Image) -> np.ndarray:
        """Make a picture fit.

        Args:
            picture: of mode RGB.

        Returns:
            (height, width, 3) uint8, C-contiguous, owned by the caller.
        """
        settings = self.settings
        method = RESAMPLING[settings.resample]
        if not settings.shortest_edge:
            return np.array(picture.resize((settings.width, settings.height), resample=method))
        width, height = resized_size(picture.size, settings.shortest_edge)
        left, top = (width - settings.width) // 2, (height - settings.height) // 2
        crop = (left, top, left + settings.width, top + settings.height)
        if max(width, height) <= _MAX_ASPECT * settings.shortest_edge:
            return np.array(picture.resize((width, height), resample=method).crop(crop))
        across, down = picture.width / width, picture.height / height
        box = (
            crop[0] * across,
            crop[1] * down,
            min(crop[2] * across, picture.width),
            min(crop[3] * down, picture.height),
        )
        return np.array(picture.resize((settings.width, settings.height), resample=method, box=box))


def resized_size(size: tuple[int, int], shortest_edge: int) -> tuple[int, int]:
    """Width and height after the shorter side has become `shortest_edge`; the longer one is cut to whole pixels."""
    width, height = size
    longer = int(shortest_edge * max(size) / min(size))
    return (shortest_edge, longer) if width <= height else (longer, shortest_edge)
