"""Faults of a picture's stored regions: they name the file, and can be counted like those of records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vlp_pipeline.regions import FIELD, RegionLimits, invalid_regions
from vlp_spec.errors import InvalidArgumentError, TooLargeError

# What a detector stores of a picture may be more than a model then takes.
STORED_REGION_LIMITS = RegionLimits(max_regions=1000, max_bytes=64 * 1024 * 1024)


@contextmanager
def named_faults(place: str) -> Iterator[None]:
    """Put the place before what is said of regions that cannot be used.

    Raises:
        InvalidArgumentError, TooLargeError: as inside, with another message.
    """
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{place}: {error}", field=FIELD, detail=error.detail) from error
    except TooLargeError as error:
        raise TooLargeError(f"{place}: {error}", detail=error.detail) from error


def no_regions(picture_id: str, where: object) -> InvalidArgumentError:
    """The error for a picture that a store does not have."""
    return invalid_regions(f"none of picture {picture_id!r:.80} in {where}")
