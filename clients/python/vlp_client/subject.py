"""What a call is about: one picture, two, or the regions that somebody found in them, and how they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlp_client.pictures import ImageSource, Picture, read_picture
from vlp_client.regions import RegionSource, SentRegions, read_regions

_BOTH = "image, regions: both are given; give one of them"


@dataclass(frozen=True, slots=True)
class Subject:
    """Pictures or regions, ready to be sent.

    Attributes:
        parts: in their order.
        field: of a form, repeated where there are several.
        json_field: of a JSON body.
        listed: whether that holds a list.
    """

    parts: tuple[Picture, ...] | tuple[SentRegions, ...]
    field: str
    json_field: str
    listed: bool = False


def subject_of(image: ImageSource | None, regions: RegionSource | None = None) -> Subject:
    """One picture, or its regions.

    Raises:
        OSError: a file cannot be read.
        TypeError: neither, both, or not in any form that is known here.
        ValueError: see `Regions.json_value`.
    """
    if regions is None:
        return Subject((read_picture(image),), "image", "image")
    if image is not None:
        raise TypeError(_BOTH)
    return Subject((read_regions(regions),), "regions", "regions")


def pair_of(images: Sequence[ImageSource] | None, regions: Sequence[RegionSource] | None = None) -> Subject:
    """Two pictures, left first, or the regions of both.

    Raises:
        OSError: a file cannot be read.
        TypeError: neither, both, not two, or not in any form that is known here.
        ValueError: see `Regions.json_value`.
    """
    if images is not None and regions is not None:
        raise TypeError(_BOTH)
    given = images if images is not None else regions
    if given is None or isinstance(given, str | bytes | bytearray) or len(given) != 2:
        raise TypeError("images, regions: expected a pair of one of them: left and right")
    if images is not None:
        return Subject(tuple(map(read_picture, images)), "image", "images", listed=True)
    return Subject(tuple(map(read_regions, regions or ())), "regions", "regions", listed=True)
