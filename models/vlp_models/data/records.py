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
    """

    text: str
    answers: Mapping[str, float]
    type: str = UNTYPED

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


def parse_record(raw: Any, key: str = "") -> PictureRecord:
    """Check one decoded JSON record; further keys are ignored, and so is a "scene" of another form.

    Args:
        raw: {"id", "image", "captions"?, "questions"?: [{"question", "answers": {text: score}, "type"?}],
            "regions"?: [{"box": [x0, y0, x1, y1], "words": [...]}]}.
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
    scene = read_scene(raw.get("scene"))
    return PictureRecord(str(identifier), image, tuple(captions), questions, regions, scene)


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name, [])
    if not isinstance(value, list):
        raise InvalidArgumentError(f"{name}: got {type(value).__name__}, expected a list")
    return value


def _parse_question(raw: Any, index: int) -> Question:
    place = f"questions[{index}]"
    if not isinstance(raw, dict):
        raise InvalidArgumentError(f"{place}: got {type(raw).__name__}, expected an object")
    text, answers, kind = raw.get("question"), raw.get("answers"), raw.get("type", UNTYPED)
    if not isinstance(text, str) or not text.strip():
        raise InvalidArgumentError(f"{place}.question: got {text!r:.60}, expected a text that is not empty")
    if not isinstance(answers, dict) or not answers:
        raise InvalidArgumentError(f"{place}.answers: got {answers!r:.60}, expected an object answer -> score")
    for answer, score in answers.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 < score <= 1:
            raise InvalidArgumentError(f"{place}.answers[{answer!r}]: got {score!r:.60}, expected above 0 and up to 1")
    if not isinstance(kind, str):
        raise InvalidArgumentError(f"{place}.type: got {kind!r:.60}, expected a text")
    return Question(text, {answer: float(score) for answer, score in answers.items()}, kind)


def _parse_region(raw: Any, index: int) -> Region:
    place = f"regions[{index}]"
    if not isinstance(raw, dict):
        raise InvalidArgumentError(f"{place}: got {type(raw).__name__}, expected an object")
    box, words = raw.get("box"), raw.get("words")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_share(side) for side in box):
        raise InvalidArgumentError(f"{place}.box: got {box!r:.60}, expected [x0, y0, x1, y1] from 0 to 1")
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InvalidArgumentError(f"{place}.box: got {box!r:.60}, expected x0 < x1 and y0 < y1")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise InvalidArgumentError(f"{place}.words: got {words!r:.60}, expected texts that are not empty")
    return Region((box[0], box[1], box[2], box[3]), tuple(words))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
