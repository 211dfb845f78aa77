"""What a server judges of pictures, as frozen records, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlp_client.replies import Reply
from vlp_client.short_repr import ShortRepr


@dataclass(frozen=True, slots=True, repr=False)
class Entailment(ShortRepr):
    """What a picture says of a hypothesis.

    Attributes:
        model: name@version that judged.
        label: the likeliest of the model's labels, such as "entailment".
        scores: all labels with their probabilities, the likeliest first.
        timings_ms: where the time went, by stage, as the server says.
    """

    model: str
    label: str
    scores: Mapping[str, float]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class HypothesisResult(ShortRepr):
    """One hypothesis of a list; other fields as in `Entailment`."""

    hypothesis: str
    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class Entailments(ShortRepr):
    """The reply to a list of hypotheses, in their order; other fields as in `Entailment`."""

    model: str
    results: tuple[HypothesisResult, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Truth:
    """Whether a statement about two pictures is true.

    Attributes:
        model: name@version that judged.
        label: whether it is rather true than false.
        score: the probability that it is true, 0 to 1.
        timings_ms: where the time went, by stage, as the server says.
    """

    model: str
    label: bool
    score: float
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StatementResult:
    """One statement of a list; other fields as in `Truth`."""

    statement: str
    label: bool
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class Truths(ShortRepr):
    """The reply to a list of statements, in their order; other fields as in `Truth`."""

    model: str
    results: tuple[StatementResult, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ScoredBox:
    """A part of a picture and its score between 0 and 1.

    Attributes:
        box: x0, y0, x1, y1 as shares of the picture's width and height.
    """

    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class Grounding(ShortRepr):
    """The best boxes for a phrase, best first; other fields as in `Entailment`."""

    model: str
    boxes: tuple[ScoredBox, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class PhraseResult(ShortRepr):
    """One phrase of a list, with its boxes, best first."""

    phrase: str
    boxes: tuple[ScoredBox, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Groundings(ShortRepr):
    """The reply to a list of phrases, in their order; other fields as in `Entailment`."""

    model: str
    results: tuple[PhraseResult, ...]
    timings_ms: Mapping[str, float]


def read_entailment(reply: Reply) -> Entailment | Entailments:
    """Read what was judged of one hypothesis, or of several."""
    body, timings_ms = reply.body, reply.timings_ms
    if "results" not in body:
        return Entailment(body["model"], str(body["label"]), dict(body["scores"]), timings_ms)
    results = [HypothesisResult(one["hypothesis"], str(one["label"]), dict(one["scores"])) for one in body["results"]]
    return Entailments(body["model"], tuple(results), timings_ms)


def read_truth(reply: Reply) -> Truth | Truths:
    """Read what was judged of one statement, or of several."""
    body, timings_ms = reply.body, reply.timings_ms
    if "results" not in body:
        return Truth(body["model"], bool(body["label"]), float(body["score"]), timings_ms)
    results = [StatementResult(one["statement"], bool(one["label"]), float(one["score"])) for one in body["results"]]
    return Truths(body["model"], tuple(results), timings_ms)


def read_grounding(reply: Reply) -> Grounding | Groundings:
    """Read where one phrase was found, or where several were."""
    body, timings_ms = reply.body, reply.timings_ms
    if "results" not in body:
        return Grounding(body["model"], _boxes(body), timings_ms)
    results = [PhraseResult(one["phrase"], _boxes(one)) for one in body["results"]]
    return Groundings(body["model"], tuple(results), timings_ms)


def _boxes(body: Mapping[str, Any]) -> tuple[ScoredBox, ...]:
    boxes = []
    for item in body["boxes"]:
        x0, y0, x1, y1 = map(float, item["box"])
        boxes.append(ScoredBox((x0, y0, x1, y1), float(item["score"])))
    return tuple(boxes)
