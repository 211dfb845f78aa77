"""What came from elsewhere, as it may be shown."""

from __future__ import annotations


def one_line(text: str, longest: int = 500) -> str:
    """A text without line breaks and without what would steer a terminal, cut to so many characters."""
    cut = text if len(text) <= longest else text[:longest] + "…"
    return "".join(char if char.isprintable() else " " for char in cut)
