"""Small checks for the records of the configuration: words or nothing, so that all can be told at once."""

from __future__ import annotations

from collections.abc import Iterable

from vlp_spec.errors import ConfigError


def raise_faults(faults: Iterable[str | None]) -> None:
    """Raise one error with all faults.

    Args:
        faults: "field: what is wrong", or None where nothing is.

    Raises:
        ConfigError: there is at least one.
    """
    if found := [fault for fault in faults if fault is not None]:
        raise ConfigError(found)


def between(name: str, value: float, low: float, high: float) -> str | None:
    """The fault of a number outside [low, high]."""
    if low <= value <= high:
        return None
    return f"{name}: got {value:g}, expected {low:g} to {high:g}"


def not_over(name: str, value: float, other_name: str, other: float) -> str | None:
    """The fault of a pair that contradicts itself: `name` may not be over `other_name`."""
    if value <= other:
        return None
    return f"{name}: {value:g} is over {other_name} = {other:g}; lower the one or raise the other"
