"""Task records: what a caller asks and what it gets back, the same for every door and every engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vlp_spec.errors import InvalidArgumentError

MAX_TOP_K = 100


class Task(StrEnum):
    """The tasks that a deployment can offer; the value is also the path under /v1."""

    VQA = "vqa"


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
