"""What a server says of a picture, as frozen records, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ScoredCaption:
    """A caption.

    Attributes:
        score: the geometric mean of its tokens' probabilities, 0 to 1.
    """

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class CaptionAnswer:
    """The captions of a picture.

    Attributes:
        model: name@version that wrote them.
        captions: best first.
        timings_ms: where the time went, by stage, as the server says.
    """

    model: str
    captions: tuple[ScoredCaption, ...]
    timings_ms: Mapping[str, float]

    @property
    def best(self) -> str:
        """The best caption."""
        return self.captions[0].text


def caption_answer(body: Mapping[str, Any], timings_ms: Mapping[str, float]) -> CaptionAnswer:
    """Read the captions of a picture."""
    captions = [ScoredCaption(str(one["text"]), float(one["score"])) for one in body["captions"]]
    return CaptionAnswer(body["model"], tuple(captions), timings_ms)
