"""Task records: what a caller asks and what it gets back, the same for every door and every engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vlp_spec.errors import InvalidArgumentError

MAX_TOP_K = 100


class Task(StrEnum):
    """The tasks that a deployment can offer; the value is also the path under /v1."""

    VQA = "vqa"
    EMBEDDINGS = "embeddings"
    CLASSIFY = "classify"
    MATCH = "match"
    ENTAILMENT = "entailment"
    REASONING = "reasoning"
    GROUNDING = "grounding"
    REGIONS = "regions"


class Lane(StrEnum):
    """Which queue a request waits in: interactive requests go before bulk ones."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class VqaQuery:
    """One question about one picture.

    Attributes:
        question: not empty after stripping.
        top_k: how many answers to return, 1 to 100.
        candidates: a closed list of answers to choose among; scores are then a softmax over it.
    """

    question: str
    top_k: int = 5
    candidates: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise InvalidArgumentError("question: empty; ask something about the picture", field="question")
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise InvalidArgumentError(f"top_k: got {self.top_k}, expected 1 to {MAX_TOP_K}", field="top_k")
        if self.candidates is not None:
            self._check_candidates(self.candidates)

    @staticmethod
    def _check_candidates(candidates: tuple[str, ...]) -> None:
        if not candidates:
            raise InvalidArgumentError("answers: an empty list; leave it out to allow every answer", field="answers")
        if len(set(candidates)) != len(candidates):
            raise InvalidArgumentError("answers: the same answer is given twice", field="answers")


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer and its score between 0 and 1."""

    answer: str
    score: float


@dataclass(frozen=True, slots=True)
class VqaResult:
    """The best answers to one question, best first."""

    answers: tuple[ScoredAnswer, ...]


PLACEHOLDER = "{}"


@dataclass(frozen=True, slots=True)
class ClassifyQuery:
    """Which of some labels fits a picture.

    Attributes:
        labels: at least one, all different.
        templates: what is said of a label, each with one {} for it; of several the mean of their embeddings counts.
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...] = (PLACEHOLDER,)

    def __post_init__(self) -> None:
        if not self.labels:
            raise InvalidArgumentError("labels: an empty list; give at least one", field="labels")
        if not all(label.strip() for label in self.labels):
            raise InvalidArgumentError("labels: an empty label", field="labels")
        if len(set(self.labels)) != len(self.labels):
            raise InvalidArgumentError("labels: the same label is given twice", field="labels")
        if not self.templates:
            raise InvalidArgumentError("templates: an empty list; leave it out for the labels alone", field="templates")
        for template in self.templates:
            if template.count(PLACEHOLDER) != 1:
                raise InvalidArgumentError(
                    f"template: got {template!r:.80}, expected one {PLACEHOLDER} where the label goes", field="template"
                )

    def texts(self, label: str) -> tuple[str, ...]:
        """The label in each template."""
        return tuple(template.replace(PLACEHOLDER, label) for template in self.templates)


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """A label and its score between 0 and 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """All labels, best first."""

    scores: tuple[ScoredLabel, ...]


@dataclass(frozen=True, slots=True)
class MatchQuery:
    """Whether a text fits a picture; `text` is not empty after stripping."""

    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InvalidArgumentError("text: empty; say something about the picture", field="text")


@dataclass(frozen=True, slots=True)
class MatchResult:
    """The probability that a text fits a picture, 0 to 1."""

    score: float


@dataclass(frozen=True, slots=True)
class EntailmentQuery:
    """Whether a picture entails a hypothesis; not empty after stripping."""

    hypothesis: str

    def __post_init__(self) -> None:
        if not self.hypothesis.strip():
            raise InvalidArgumentError("hypothesis: empty; say something about the picture", field="hypothesis")


@dataclass(frozen=True, slots=True)
class EntailmentResult:
    """The model's own labels with their probabilities, the likeliest first."""

    scores: tuple[ScoredLabel, ...]

    @property
    def label(self) -> str:
        """The likeliest."""
        return self.scores[0].label


@dataclass(frozen=True, slots=True)
class ReasoningQuery:
    """Whether a statement about two pictures is true; not empty after stripping."""

    statement: str

    def __post_init__(self) -> None:
        if not self.statement.strip():
            raise InvalidArgumentError("statement: empty; say something about the two pictures", field="statement")


@dataclass(frozen=True, slots=True)
class ReasoningResult:
    """The probability that a statement is true, 0 to 1."""

    score: float

    @property
    def label(self) -> bool:
        """Whether it is rather true than false."""
        return self.score >= 0.5


@dataclass(frozen=True, slots=True)
class GroundingQuery:
    """Which part of a picture a phrase names.

    Attributes:
        phrase: not empty after stripping.
        top_k: how many boxes to return, 1 to 100.
    """

    phrase: str
    top_k: int = 5

    def __post_init__(self) -> None:
        if not self.phrase.strip():
            raise InvalidArgumentError("phrase: empty; name something in the picture", field="phrase")
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise InvalidArgumentError(f"top_k: got {self.top_k}, expected 1 to {MAX_TOP_K}", field="top_k")


@dataclass(frozen=True, slots=True)
class ScoredBox:
    """A part of a picture and its score between 0 and 1.

    Attributes:
        box: x0, y0, x1, y1 as shares of the picture's width and height.
    """

    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True)
class GroundingResult:
    """The best boxes for one phrase, best first."""

    boxes: tuple[ScoredBox, ...]
