"""What a server answers, as frozen records."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from vlp_client.short_repr import ShortRepr


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and its score between 0 and 1."""

    answer: str
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class VqaAnswers(ShortRepr):
    """The reply to one question.

    Attributes:
        model: name@version that answered.
        answers: best first.
        timings_ms: where the time went, by stage, as the server says.
    """

    model: str
    answers: tuple[Answer, ...]
    timings_ms: Mapping[str, float]

    @property
    def best(self) -> str:
        """The best answer."""
        return self.answers[0].answer


@dataclass(frozen=True, slots=True, repr=False)
class QuestionResult(ShortRepr):
    """One question of a list, with its answers, best first."""

    question: str
    answers: tuple[Answer, ...]

    @property
    def best(self) -> str:
        """The best answer."""
        return self.answers[0].answer


@dataclass(frozen=True, slots=True, repr=False)
class VqaResults(ShortRepr):
    """The reply to a list of questions, in their order; fields as in `VqaAnswers`."""

    model: str
    results: tuple[QuestionResult, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its score between 0 and 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class Classification(ShortRepr):
    """All labels, best first; other fields as in `VqaAnswers`."""

    model: str
    scores: tuple[LabelScore, ...]
    timings_ms: Mapping[str, float]

    @property
    def best(self) -> str:
        """The best label."""
        return self.scores[0].label


@dataclass(frozen=True, slots=True)
class TextScore:
    """A text, and the probability that it fits the picture.

    Attributes:
        itm: the probability of the head that reads picture and text together.
        itc: the cosine of picture and text each by itself; None where the model does not compute it.
    """

    text: str
    score: float
    itm: float
    itc: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Matches(ShortRepr):
    """The texts in their order; other fields as in `VqaAnswers`."""

    model: str
    scores: tuple[TextScore, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class Embeddings(ShortRepr):
    """One vector for each item, in their order, as float32 arrays; other fields as in `VqaAnswers`."""

    model: str
    vectors: tuple[array[float], ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class ModelInfo(ShortRepr):
    """A served model.

    Attributes:
        id: what to give as `model`: name@version.
        limits: largest size of each axis of its graphs, such as text tokens.
        state: loading, ready or failed; `reason` says why.
        default: whether it answers calls that name no model.
    """

    id: str
    name: str
    version: int | None
    family: str | None
    tasks: tuple[str, ...]
    precision: str | None
    limits: Mapping[str, int]
    state: str
    reason: str
    default: bool
