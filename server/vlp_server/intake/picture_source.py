"""Where a picture comes from: sent as it is, or named by URL and fetched once the whole request has been read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from vlp_pipeline.regions import Regions
from vlp_spec.errors import DeadlineError, InvalidArgumentError, InvalidImageError

from vlp_server.intake.memory import TakeBytes

P = TypeVar("P", bound=bytes | Regions)
Fetch = Callable[[str, TakeBytes], Awaitable[bytes]]
# Pictures of one call that are fetched at a time.
PARALLEL_FETCHES = 8


@dataclass(frozen=True, slots=True)
class PictureUrl:
    """A picture that is named and not sent; it is fetched once the whole request has been read."""

    text: str


async def sent_or_fetched(
    source: PictureUrl | P, fetch: Fetch | None, take: TakeBytes, deadline: float | None, share: float = 1.0
) -> bytes | P:
    """The picture itself.

    Args:
        source: as it was sent, or where it is to be fetched from.
        share: of the time that is left until the deadline, for fetching.

    Raises:
        RequestError, CapacityError: as `fetch_source` says.
    """
    if not isinstance(source, PictureUrl):
        return source
    if deadline is not None:
        deadline -= (1.0 - share) * max(0.0, deadline - time.monotonic())
    return await fetch_source(source, fetch, take, deadline)


async def fetch_source(url: PictureUrl, fetch: Fetch | None, take: TakeBytes, deadline: float | None) -> bytes:
    """Bytes of a picture that is named by URL.

    Args:
        url: http or https.
        fetch: None where the operator has not allowed it.
        take: counts the bytes that arrive.
        deadline: time.monotonic() seconds after which nobody waits for the answer, or None.

    Raises:
        InvalidArgumentError: not allowed, or as `fetch` says.
        InvalidImageError: nothing is behind it.
        DeadlineError: the deadline passed first.
    """
    if fetch is None:
        raise InvalidArgumentError(
            "image: this server fetches no URLs; send the picture itself (its operator may set url_fetch.enabled)",
            field="image",
        )
    try:
        async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
            return check_not_empty(await fetch(url.text, take))
    except TimeoutError:
        raise DeadlineError("the deadline passed while the picture was being fetched") from None


def check_not_empty(picture: bytes) -> bytes:
    """The picture.

    Raises:
        InvalidImageError: it has no bytes.
    """
    if not picture:
        raise InvalidImageError("image: no bytes at all; was the file read?")
    return picture
