"""What a server says of a picture, as frozen records, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from vlp_client.replies import Reply
from vlp_client.short_repr import ShortRepr


class CaptionOptions(TypedDict, total=False):
    """How the words are chosen, and by whom; what is left out is the model's own default.

    Attributes:
        max_tokens: of a caption, the prompt not counted.
        min_tokens: before a caption may end.
        num_beams: texts that are kept side by side; 1 takes the likeliest token at each step.
        num_captions: how many; at least as many beams are needed, unless tokens are drawn.
        length_penalty: above 0 long texts win among beams, below 0 short ones.
        temperature: above 0 tokens are drawn by chance, the more freely the higher.
        top_p: drawn is among the likeliest tokens that have so much of the probability.
        seed: the same one draws the same text.
        model: name, name@version or name@alias; None for the server's default.
        deadline_s: after which the server stops working on it; None for the server's default.
    """

    max_tokens: int | None
    min_tokens: int | None
    num_beams: int | None
    num_captions: int | None
    length_penalty: float | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    model: str | None
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class ScoredCaption:
    """A caption.

    Attributes:
        score: the geometric mean of its tokens' probabilities, 0 to 1.
    """

    text: str
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class CaptionAnswer(ShortRepr):
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


def read_captions(reply: Reply) -> CaptionAnswer:
    """Read the captions of a picture."""
    return caption_answer(reply.body, reply.timings_ms)


def caption_answer(body: Mapping[str, Any], timings_ms: Mapping[str, float]) -> CaptionAnswer:
    """Read the captions of a picture, where the timings come apart."""
    captions = [ScoredCaption(str(one["text"]), float(one["score"])) for one in body["captions"]]
    return CaptionAnswer(body["model"], tuple(captions), timings_ms)


def split_options(prompt: str | None, options: CaptionOptions) -> tuple[str | None, float | None, dict[str, Any]]:
    """Model, deadline, and the other fields that were given."""
    given: dict[str, Any] = {"prompt": prompt, **options}
    model, deadline_s = given.pop("model", None), given.pop("deadline_s", None)
    return model, deadline_s, {name: value for name, value in given.items() if value is not None}
