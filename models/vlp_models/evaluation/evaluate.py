"""Evaluate a model on a split, beside the majority baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vlp_spec.errors import ArtifactError

from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import PictureSource, has_split, open_source
from vlp_models.evaluation.accuracy import AccuracyReport, majority_answers, report_accuracy
from vlp_models.evaluation.answering import Answerer, Prediction, answer_questions, ask_answerer
from vlp_models.evaluation.artefacts import AnsweringModel

_Ask = Callable[[PictureSource, FaultCounter], Iterator[Prediction]]


@dataclass(frozen=True)
class EvaluationData:
    """What to evaluate on.

    Attributes:
        root: dataset folder.
        split: asked split.
        train_split: majority answers are counted there when it is there, else on `split` itself.
        form: "auto", "jsonl" or "shards".
        limit: questions at most; 0 asks all.
        blind: show one grey picture instead of each picture.
    """

    root: Path
    split: str = "test"
    train_split: str = "train"
    form: str = "auto"
    limit: int = 0
    blind: bool = False


def evaluate_model(
    model: AnsweringModel,
    data: EvaluationData,
    *,
    batch_size: int = 64,
    watch: Callable[[int], None] | None = None,
) -> tuple[AccuracyReport, list[Prediction]]:
    """Ask every question and score the answers.

    Args:
        model: what answers.
        data: the questions.
        batch_size: questions a forward pass.
        watch: called with the number of questions answered so far.

    Returns:
        The report, and the predictions in the split's order.

    Raises:
        ArtifactError: the split is not there, has no question, or too many faulty records.
    """
    ask = partial(answer_questions, model, batch_size=batch_size, limit=data.limit, blind=data.blind)
    return _score(ask, data, watch)


def evaluate_answerer(
    answerer: Answerer,
    data: EvaluationData,
    *,
    batch_size: int = 64,
    watch: Callable[[int], None] | None = None,
) -> tuple[AccuracyReport, list[Prediction]]:
    """The same for what answers in its own way; it is shown every picture as it is, whatever `data.blind` says."""
    return _score(partial(ask_answerer, answerer, batch_size=batch_size, limit=data.limit), data, watch)


def _score(
    ask: _Ask, data: EvaluationData, watch: Callable[[int], None] | None
) -> tuple[AccuracyReport, list[Prediction]]:
    source = open_source(data.root, data.split, data.form)
    faults = FaultCounter(data.split)
    predictions: list[Prediction] = []
    for prediction in ask(source, faults):
        predictions.append(prediction)
        if watch is not None:
            watch(len(predictions))
    if predictions or faults.reasons:
        faults.check(len({prediction.picture for prediction in predictions}))
    else:
        raise ArtifactError(f"split {data.split!r}: no questions to answer")
    counted = data.train_split if has_split(data.root, data.train_split) else data.split
    records = open_source(data.root, counted, data.form).read_records(FaultCounter(counted))
    majority = majority_answers(records)
    answered = ((prediction.question, prediction.answer) for prediction in predictions)
    return report_accuracy(answered, majority, counted), predictions
