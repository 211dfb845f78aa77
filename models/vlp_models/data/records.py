"""One picture of a dataset with its texts: the record that JSONL lines and shard members hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlp_spec.errors import InvalidArgumentError

from vlp_models.scenes.scene_record import read_scene
from vlp_models.scenes.world import Scene

UNTYPED = "other"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its accepted answers.

    Attributes:
        text: the question.
        answers: answer -> soft score, above 0 and at most 1.
        type: group that evaluation reports it under; "other" where the data names none.
        human: one answer a person, as given; with them the official VQA accuracy can be counted.
    """

    text: str
    answers: Mapping[str, float]
    type: str = UNTYPED
    human: tuple[str, ...] = ()

    @property
    def best_answer(self) -> str:
        """The answer with the highest score; the first of equals."""
        return max(self.answers, key=lambda answer: self.answers[answer])


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the picture and the words for it.

    Attributes:
        box: x0, y0, x1, y1 as shares of the picture's width and height, 0 to 1.
        words: what it is and how it looks, in any order.
    """

    box: tuple[float, float, float, float]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sentence that a picture entails, contradicts, or leaves open: visual entailment.

    Attributes:
        label: one of the data set's own labels.
        type: as of `Question`.
    """

    text: str
    label: str
    type: str = UNTYPED


@dataclass(frozen=True, slots=True)
class PairStatement:
    """A sentence about this picture, on the left, and another one, on the right: visual reasoning.

    Attributes:
        other: id of the picture on the right, of the same split.
        type: as of `Question`.
    """

    text: str
    other: str
    is_true: bool
    type: str = UNTYPED


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that name one part of the picture: referring expressions.

    Attributes:
        box: as of `Region`.
        type: as of `Question`.
    """

    text: str
    box: tuple[float, float, float, float]
    type: str = UNTYPED


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """A picture and what is said and asked about it.

    Attributes:
        id: unique in its split.
        image: path relative to the dataset's root; empty in a shard, where the picture lies beside the record.
        scene: what the picture shows, where a generator knows it; false captions and the truth of captions follow.
    """

    id: str
    image: str
    captions: tuple[str, ...]
    questions: tuple[Question, ...]
    regions: tuple[Region, ...] = ()
    scene: Scene | None = None
    hypotheses: tuple[Hypothesis, ...] = ()
    pair_statements: tuple[PairStatement, ...] = ()
    phrases: tuple[Phrase, ...] = ()


def parse_record(raw: Any, key: str = "") -> PictureRecord:
    """Check one decoded JSON record; further keys are ignored, and so is a "scene" of another form.

    Args:
        raw: {"id", "image", "captions"?, "questions"?: [{"question", "answers": {text: score}, "type"?,
            "human_answers"?: [one text a person]}],
            "regions"?: [{"box": [x0, y0, x1, y1], "words": [...]}],
            "hypotheses"?: [{"hypothesis", "label", "type"?}],
            "pair_statements"?: [{"statement", "other", "label": true or false, "type"?}],
            "phrases"?: [{"phrase", "box", "type"?}]}.
        key: stands in for a missing "id".

    Raises:
        InvalidArgumentError: the record's first fault, with its field.
    """
    if not isinstance(raw, dict):
        raise InvalidArgumentError(f"got {type(raw).__name__}, expected an object")
    captions = _list(raw, "captions")
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            raise InvalidArgumentError(f"captions: got {caption!r:.60}, expected texts that are not empty")
    questions = tuple(_parse_question(item, index) for index, item in enumerate(_list(raw, "questions")))
    identifier, image = raw.get("id", key), raw.get("image", "")
    if not isinstance(image, str):
        raise InvalidArgumentError(f"image: got {image!r:.60}, expected a path")
    regions = tuple(_parse_region(item, index) for index, item in enumerate(_list(raw, "regions")))
    return PictureRecord(
        str(identifier),
        image,
        tuple(captions),
        questions,
        regions,
        read_scene(raw.get("scene")),
        tuple(_parse_hypothesis(item, index) for index, item in enumerate(_list(raw, "hypotheses"))),
        tuple(_parse_pair_statement(item, index) for index, item in enumerate(_list(raw, "pair_statements"))),
        tuple(_parse_phrase(item, index) for index, item in enumerate(_list(raw, "phrases"))),
    )


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name, [])
    if not isinstance(value, list):
        raise InvalidArgumentError(f"{name}: got {type(value).__name__}, expected a list")
    return value


def _parse_question(raw: Any, index: int) -> Question:
    place = f"questions[{index}]"
    item = _object(raw, place)
    answers = item.get("answers")
    text, kind = _text(item, "question", place), _type(item, place)
    if not isinstance(answers, dict) or not answers:
        raise InvalidArgumentError(f"{place}.answers: got {answers!r:.60}, expected an object answer -> score")
    for answer, score in answers.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 < score <= 1:
            raise InvalidArgumentError(f"{place}.answers[{answer!r}]: got {score!r:.60}, expected above 0 and up to 1")
    human = item.get("human_answers", [])
    if not isinstance(human, list) or not all(isinstance(answer, str) for answer in human):
        raise InvalidArgumentError(f"{place}.human_answers: got {human!r:.60}, expected a list of texts")
    return Question(text, {answer: float(score) for answer, score in answers.items()}, kind, tuple(human))


def _parse_region(raw: Any, index: int) -> Region:
    place = f"regions[{index}]"
    item = _object(raw, place)
    words = item.get("words")
    box = _box(item, place)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise InvalidArgumentError(f"{place}.words: got {words!r:.60}, expected texts that are not empty")
    return Region(box, tuple(words))


def _parse_hypothesis(raw: Any, index: int) -> Hypothesis:
    place = f"hypotheses[{index}]"
    item = _object(raw, place)
    return Hypothesis(_text(item, "hypothesis", place), _text(item, "label", place), _type(item, place))


def _parse_pair_statement(raw: Any, index: int) -> PairStatement:
    place = f"pair_statements[{index}]"
    item = _object(raw, place)
    label = item.get("label")
    if not isinstance(label, bool):
        raise InvalidArgumentError(f"{place}.label: got {label!r:.60}, expected true or false")
    return PairStatement(_text(item, "statement", place), _text(item, "other", place), label, _type(item, place))


def _parse_phrase(raw: Any, index: int) -> Phrase:
    place = f"phrases[{index}]"
    item = _object(raw, place)
    return Phrase(_text(item, "phrase", place), _box(item, place), _type(item, place))


def _object(raw: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise InvalidArgumentError(f"{place}: got {type(raw).__name__}, expected an object")
    return raw


def _text(item: Mapping[str, Any], name: str, place: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(f"{place}.{name}: got {value!r:.60}, expected a text that is not empty")
    return value


def _type(item: Mapping[str, Any], place: str) -> str:
    value = item.get("type", UNTYPED)
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{place}.type: got {value!r:.60}, expected a text")
    return value


def _box(item: Mapping[str, Any], place: str) -> tuple[float, float, float, float]:
    box = item.get("box")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_share(side) for side in box):
        raise InvalidArgumentError(f"{place}.box: got {box!r:.60}, expected [x0, y0, x1, y1] from 0 to 1")
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InvalidArgumentError(f"{place}.box: got {box!r:.60}, expected x0 < x1 and y0 < y1")
    return box[0], box[1], box[2], box[3]


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
