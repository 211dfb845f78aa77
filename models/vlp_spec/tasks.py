"""Task records: what a caller asks and what it gets back, the same for every door and every engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vlp_spec.errors import InvalidArgumentError

MAX_TOP_K = 100
MAX_TOKENS = 512
MAX_BEAMS = 16
MAX_CAPTIONS = 16


class Task(StrEnum):
    """The tasks that a deployment can offer; the value is also the path under /v1."""

    VQA = "vqa"
    CAPTION = "caption"
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
    """An answer and its score between 0 and 1.

    Attributes:
        ended: False where it was written, and no more tokens were allowed.
    """

    answer: str
    score: float
    ended: bool = True


@dataclass(frozen=True, slots=True)
class VqaResult:
    """The best answers to one question, best first."""

    answers: tuple[ScoredAnswer, ...]


def _check_range(name: str, value: float | None, least: float, most: float) -> None:
    """Refuse what is out of bounds; None, and nothing that is no number, passes."""
    if value is not None and not least <= value <= most:
        raise InvalidArgumentError(f"{name}: got {value}, expected {least} to {most}", field=name)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the words of a text are chosen; what is None is the model's own default.

    Attributes:
        max_tokens: of the text, the prompt not counted, 1 to 512.
        min_tokens: before the text may end, 0 to `max_tokens`.
        num_beams: texts kept side by side, 1 to 16; 1 takes the likeliest token at each step.
        length_penalty: a text's log-probability is divided by its length to this power when beams are compared.
        temperature: above 0 tokens are drawn by chance from probabilities flattened by it; 0 draws nothing.
        top_p: tokens are drawn from the smallest set that has so much of the probability, above 0 to 1.
        seed: of the drawing; the same seed draws the same text. None takes another one each time.
    """

    max_tokens: int | None = None
    min_tokens: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_range("max_tokens", self.max_tokens, 1, MAX_TOKENS)
        _check_range("min_tokens", self.min_tokens, 0, MAX_TOKENS)
        _check_range("num_beams", self.num_beams, 1, MAX_BEAMS)
        _check_range("length_penalty", self.length_penalty, -5.0, 5.0)
        _check_range("temperature", self.temperature, 0.0, 5.0)
        _check_range("seed", self.seed, 0, 2**63 - 1)
        if not 0 < self.top_p <= 1:
            raise InvalidArgumentError(f"top_p: got {self.top_p}, expected above 0, 1 at most", field="top_p")
        if None not in (self.max_tokens, self.min_tokens) and self.min_tokens > self.max_tokens:  # type: ignore[operator]
            raise InvalidArgumentError(
                f"min_tokens: got {self.min_tokens}, max_tokens is {self.max_tokens}", field="min_tokens"
            )
        if self.samples and (self.num_beams or 1) > 1:
            raise InvalidArgumentError("num_beams: beams and temperature exclude each other", field="num_beams")
        if not self.samples and self.top_p < 1:
            raise InvalidArgumentError("top_p: needs a temperature above 0", field="top_p")

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn by chance."""
        return self.temperature > 0

    @property
    def is_repeatable(self) -> bool:
        """Whether the same query gives the same text again: not where chance draws without a seed."""
        return not self.samples or self.seed is not None


@dataclass(frozen=True, slots=True)
class CaptionQuery:
    """What a picture shows, in words.

    Attributes:
        prompt: how the text begins; empty for the model's own beginning.
        num_captions: how many texts, 1 to 16; more than one wants as many beams, or a temperature.
    """

    prompt: str = ""
    num_captions: int = 1
    decoding: Decoding = Decoding()

    def __post_init__(self) -> None:
        _check_range("num_captions", self.num_captions, 1, MAX_CAPTIONS)
        beams = self.decoding.num_beams
        if beams is not None and not self.decoding.samples and self.num_captions > beams:
            raise InvalidArgumentError(
                f"num_captions: got {self.num_captions}, num_beams is {beams}; ask for as many beams, or a temperature",
                field="num_captions",
            )


@dataclass(frozen=True, slots=True)
class ScoredCaption:
    """A caption.

    Attributes:
        score: the geometric mean of its tokens' probabilities, 0 to 1.
        tokens: that were written, prompt and end not counted.
        ended: False where no more tokens were allowed.
    """

    text: str
    score: float
    tokens: int = 0
    ended: bool = True


@dataclass(frozen=True, slots=True)
class CaptionResult:
    """The captions of one picture, best first."""

    captions: tuple[ScoredCaption, ...]


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
    """How well a text fits a picture.

    Attributes:
        score: the probability that it fits, 0 to 1.
        itm: the same, by a head that read picture and text together; None where the model has no other score beside.
        itc: the cosine of picture and text each by itself, -1 to 1; None where it was not computed.
        rank_score: what pictures are ordered by for a text, any number, larger is better; None where that is `score`.
    """

    score: float
    itm: float | None = None
    itc: float | None = None
    rank_score: float | None = None


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
