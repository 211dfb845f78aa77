"""What came back of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, in the shape of the API's JSON whichever transport brought it.

    Attributes:
        body: JSON, or the bytes of a picture.
        timings_ms: where the server's time went, by stage.
    """

    body: Any
    timings_ms: Mapping[str, float] = field(default_factory=dict)
