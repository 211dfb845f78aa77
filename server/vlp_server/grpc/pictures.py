"""The picture of a message -> its bytes, where it is to be fetched from, or the regions that were found in it."""

from __future__ import annotations

import asyncio

import numpy as np
from vlp_pipeline.region_npz import read_region_npz
from vlp_pipeline.regions import FIELD as REGIONS
from vlp_pipeline.regions import RegionLimits, Regions, check_regions, invalid_regions
from vlp_proto.vlp.v1 import content_pb2
from vlp_spec.errors import InvalidArgumentError, TooLargeError

from vlp_server.grpc.call import Call
from vlp_server.intake.picture_source import PictureUrl, check_not_empty

_URL_CHARS = 8192


async def read_subject(call: Call, picture: content_pb2.Picture, name: str) -> bytes | PictureUrl | Regions:
    """What a call is about: a picture, or regions in its place.

    Args:
        call: counts the bytes that regions hold beside the message.
        picture: maybe empty.
        name: of its field.

    Raises:
        InvalidArgumentError: nothing, no URL, or regions that are none.
        InvalidImageError: a picture without bytes.
        TooLargeError: over a limit.
    """
    source = picture.WhichOneof("source")
    if source not in ("regions", "regions_npz"):
        return read_picture(picture, name)
    limits = RegionLimits(max_regions=call.config.limits.regions)
    if source == "regions":
        regions = _regions_of(picture.regions, limits)
    else:
        regions = await asyncio.to_thread(read_region_npz, picture.regions_npz, limits)
    call.take(regions.size_bytes)
    return regions


def read_picture(picture: content_pb2.Picture, name: str) -> bytes | PictureUrl:
    """A picture where nothing can stand in its place; arguments and errors as `read_subject`."""
    source = picture.WhichOneof("source")
    if source == "content":
        return check_not_empty(picture.content)
    if source == "url":
        if not picture.url[:8].lower().startswith(("http://", "https://")) or len(picture.url) > _URL_CHARS:
            raise InvalidArgumentError(
                f"{name}: expected an http(s) URL of {_URL_CHARS} characters at most", field=name
            )
        return PictureUrl(picture.url)
    if source is None:
        raise InvalidArgumentError(f"{name}: missing; send the picture", field=name)
    raise InvalidArgumentError(f"{name}: this reads no regions; send the picture itself", field=name)


def _regions_of(sent: content_pb2.Regions, limits: RegionLimits) -> Regions:
    count = len(sent.boxes)
    if not count:
        raise invalid_regions("0 boxes, at least 1 is needed")
    if count > limits.max_regions:
        raise TooLargeError(f"{REGIONS}: {count} regions, at most {limits.max_regions} are accepted")
    if sent.scores and len(sent.scores) != count:
        raise invalid_regions(f"{len(sent.scores)} scores for {count} boxes")
    if not sent.features or len(sent.features) % (4 * count):
        raise invalid_regions(
            f"features: {len(sent.features)} bytes are no whole number of float32 for each of {count} boxes"
        )
    return check_regions(
        np.array([(box.x0, box.y0, box.x1, box.y1) for box in sent.boxes], dtype=np.float64),
        np.frombuffer(sent.features, dtype="<f4").reshape(count, -1),
        scores=np.array(sent.scores, dtype=np.float64) if sent.scores else None,
        limits=limits,
    )
