"""How the records of a recipe check themselves: every fault of one at once."""

from __future__ import annotations

from vlp_spec.errors import ConfigError


def check(*conditions: tuple[bool, str]) -> None:
    """Raise ConfigError with the texts of the conditions that do not hold."""
    if faults := [message for holds, message in conditions if not holds]:
        raise ConfigError(faults)


def one_of(name: str, value: str, known: tuple[str, ...]) -> tuple[bool, str]:
    """The condition that a value is one of the known ones."""
    return value in known, f"{name}: got {value!r}, expected one of {', '.join(known)}"


def at_least(name: str, value: float, least: float) -> tuple[bool, str]:
    """The condition that a value is not below the least."""
    return value >= least, f"{name}: got {value}, expected at least {least}"
