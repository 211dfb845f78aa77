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
