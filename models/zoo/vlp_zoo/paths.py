"""Where the shipped models lie."""

from __future__ import annotations

from pathlib import Path


def zoo_path() -> Path:
    """The folder with checkpoints/, repository/ and samples/."""
    return Path(__file__).parent
