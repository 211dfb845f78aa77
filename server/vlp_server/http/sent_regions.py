"""Regions as they were sent -> the record: an .npz file, the same in base64, or a JSON object.

They are read in a thread whatever their size: a small file may hold large arrays.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlp_pipeline.region_json import regions_from_json
from vlp_pipeline.region_npz import read_region_npz
from vlp_pipeline.regions import FIELD, RegionLimits, Regions, invalid_regions
from vlp_spec.errors import InvalidArgumentError, TooLargeError

from vlp_server.config.settings import LimitsConfig
from vlp_server.intake.memory import TakeBytes
from vlp_server.intake.texts import placed

_SPACES = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True, slots=True)
class SentRegions:
    """Regions of one picture, not read yet.

    Attributes:
        content: bytes of an .npz file, or a JSON value.
        place: what they are called in messages where several are sent.
    """

    content: Any
    place: str = FIELD

    async def read(self, limits: LimitsConfig, take: TakeBytes) -> Regions:
        """The record.

        Args:
            limits: of a call.
            take: counts the bytes that the arrays hold beside the body.

        Raises:
            InvalidArgumentError: not regions, or such as `check_regions` refuses.
            TooLargeError: over a limit.
            OverloadedError: other requests hold the memory that they need.
        """
        try:
            regions = await asyncio.to_thread(_decoded, self.content, RegionLimits(max_regions=limits.regions))
        except InvalidArgumentError as error:
            raise placed(error, FIELD, self.place) from error
        except TooLargeError as error:
            raise TooLargeError(error.message.replace(FIELD, self.place, 1), detail=error.detail) from error
        take(regions.size_bytes)
        return regions


def sent_regions(contents: Sequence[Any]) -> list[SentRegions]:
    """Each of what was sent, with its place where there are several."""
    if len(contents) == 1:
        return [SentRegions(contents[0])]
    return [SentRegions(content, f"{FIELD}[{index}]") for index, content in enumerate(contents)]


def _decoded(content: Any, limits: RegionLimits) -> Regions:
    if isinstance(content, bytes):
        return read_region_npz(content, limits)
    if isinstance(content, str):
        return read_region_npz(_from_base64(content), limits)
    return regions_from_json(content, limits)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(_SPACES), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_regions("text that is not base64 of an .npz file; or send an object") from None
