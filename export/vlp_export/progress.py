"""The stages of an export, as a caller sees them pass."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Stage(StrEnum):
    """What the exporter is doing; the order is that of a run, and not every run has all of them."""

    LOAD = "load checkpoint"
    REFERENCE = "run checkpoint on proof samples"
    GRAPH = "export graph"
    QUANTIZE = "quantize graph"
    ENGINE = "build engine"
    PROOF = "prove graph"
    PUBLISH = "publish"


Progress = Callable[[Stage], None]


def no_progress(stage: Stage) -> None:
    """Tell nobody."""
