"""Ask a model every question of a split."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from vlp_pipeline.pipeline import Item, PreparedImage
from vlp_spec.errors import RequestError
from vlp_spec.tasks import ScoredAnswer, VqaQuery

from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import Question
from vlp_models.data.sources import PictureSource, RawPicture
from vlp_models.evaluation.artefacts import AnsweringModel
from vlp_models.evaluation.batches import POOL_BATCHES, run_items


@dataclass(frozen=True)
class Prediction:
    """One answered question; `number` counts the picture's questions from 0."""

    picture: str
    number: int
    question: Question
    answer: str
    score: float

    @property
    def id(self) -> str:
        """Unique in the split."""
        return f"{self.picture}/{self.number}"


class Answerer(Protocol):
    """What answers questions in its own way, such as a service."""

    def answer(self, asked: Sequence[tuple[bytes, Sequence[str]]]) -> Sequence[Sequence[ScoredAnswer]]:
        """The best answer to each question about each encoded picture.

        Raises:
            RequestError: a picture or a question cannot be read.
        """
        ...


@dataclass(frozen=True)
class _Asked:
    picture: str
    number: int
    question: Question
    item: Item


def answer_questions(
    model: AnsweringModel,
    source: PictureSource,
    faults: FaultCounter,
    *,
    batch_size: int = 64,
    limit: int = 0,
    blind: bool = False,
) -> Iterator[Prediction]:
    """Answer a split's questions in their order.

    Args:
        model: what answers.
        source: the split.
        faults: counts records and pictures that cannot be read; they are left out.
        batch_size: questions a forward pass.
        limit: questions at most; 0 asks all.
        blind: show one grey picture instead of each picture.
    """
    asked = _prepare(model, source, faults, blind=blind)
    if limit:
        asked = itertools.islice(asked, limit)
    while pool := list(itertools.islice(asked, batch_size * POOL_BATCHES)):
        yield from _answer_pool(model, pool, batch_size)


def ask_answerer(
    answerer: Answerer, source: PictureSource, faults: FaultCounter, *, batch_size: int = 64, limit: int = 0
) -> Iterator[Prediction]:
    """Ask an Answerer a split's questions in their order, `batch_size` of them a call; see `answer_questions`."""
    left = limit or sys.maxsize
    waiting: list[tuple[RawPicture, list[Question]]] = []
    for raw in source.read(faults):
        questions = list(raw.record.questions[:left])
        if questions:
            left -= len(questions)
            waiting.append((raw, questions))
        if not left or sum(len(asked) for _, asked in waiting) >= batch_size:
            yield from _ask_waiting(answerer, waiting, faults)
            waiting = []
        if not left:
            return
    yield from _ask_waiting(answerer, waiting, faults)


def _ask_waiting(
    answerer: Answerer, waiting: Sequence[tuple[RawPicture, Sequence[Question]]], faults: FaultCounter
) -> Iterator[Prediction]:
    """All pictures of a call; where one cannot be read, the others."""
    if not waiting:
        return
    try:
        answers = answerer.answer([(raw.image, [question.text for question in asked]) for raw, asked in waiting])
    except RequestError as error:
        if len(waiting) == 1:
            faults.note(waiting[0][0].place, error)
            return
        for one in waiting:
            yield from _ask_waiting(answerer, [one], faults)
        return
    for (raw, asked), best in zip(waiting, answers, strict=True):
        for number, (question, scored) in enumerate(zip(asked, best, strict=True)):
            yield Prediction(raw.record.id, number, question, scored.answer, scored.score)


def _prepare(model: AnsweringModel, source: PictureSource, faults: FaultCounter, *, blind: bool) -> Iterator[_Asked]:
    grey = model.pipeline.prepare_image(_grey_picture(model.grey_side)) if blind else None
    for raw in source.read(faults):
        if not raw.record.questions:
            continue
        try:
            picture: PreparedImage = grey or model.pipeline.prepare_image(raw.image)
            items = [
                model.pipeline.prepare(picture, VqaQuery(question.text, top_k=1)) for question in raw.record.questions
            ]
        except RequestError as error:
            faults.note(raw.place, error)
            continue
        for number, (question, item) in enumerate(zip(raw.record.questions, items, strict=True)):
            yield _Asked(raw.record.id, number, question, item)


def _answer_pool(model: AnsweringModel, pool: Sequence[_Asked], batch_size: int) -> Iterator[Prediction]:
    rows = run_items([asked.item for asked in pool], model.pipeline.collate, model.forward, batch_size)
    for asked, row in zip(pool, rows, strict=True):
        best = model.pipeline.result(VqaQuery(asked.question.text, top_k=1), row).answers[0]
        yield Prediction(asked.picture, asked.number, asked.question, best.answer, best.score)


def _grey_picture(side: int) -> bytes:
    """A PNG of one grey, the picture that blind training shows."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 128, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write one JSON line a question: id, question, type, answer, score."""
    with path.open("w", encoding="utf-8") as file:
        for item in predictions:
            line = {
                "id": item.id,
                "question": item.question.text,
                "type": item.question.type,
                "answer": item.answer,
                "score": round(item.score, 6),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
