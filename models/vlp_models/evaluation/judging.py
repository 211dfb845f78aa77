"""Ask a deployment all that a split has for its task: hypotheses, statements on two pictures, phrases, questions.

All goes through the pipeline and the graphs that serve. What is reported is the accuracy by the data set's own types,
beside always giving the most frequent label of the type.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from vlp_pipeline.generative import FUSION_ROLE, PAIR_ROLE
from vlp_pipeline.images import decode_image
from vlp_pipeline.pipeline import Item, PreparedImage, RegionReader
from vlp_pipeline.regions import Regions, check_regions
from vlp_spec.errors import ArtifactError, RequestError, TaskNotSupportedError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, ReasoningQuery, Task, VqaQuery

from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PairStatement, PictureRecord, Question
from vlp_models.data.region_store import open_region_store
from vlp_models.data.sources import PictureSource, RawPicture, open_source
from vlp_models.evaluation.accuracy import AccuracyReport, report_accuracy
from vlp_models.evaluation.batches import POOL_BATCHES, Outputs, run_items
from vlp_models.evaluation.deployment_graphs import DeploymentGraphs
from vlp_models.evaluation.detector_artefacts import open_extractor
from vlp_models.evaluation.grounding import is_grounded

FOUND, MISSED = "found", "missed"
Prepare = Callable[[RawPicture], PreparedImage]


@dataclass(frozen=True)
class JudgingModel:
    """A deployment that runs here.

    Attributes:
        name: name@version.
        task: what it does.
        pipeline: of its task.
        prepare: a picture of a data set as its graph takes it; for a model that sees each picture by itself, as seen.
        forward: inputs of the graph that judges, batch first -> outputs by name.
    """

    name: str
    task: Task
    pipeline: Any
    prepare: Callable[[RawPicture], Any]
    forward: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class _Asked:
    """One example: what counts as right, and how an answer is named."""

    question: Question
    query: Any
    item: Item
    name_of: Callable[[Any], str]


def open_judge(repository: Path, reference: str, regions: Path | None = None, *, blind: bool = False) -> JudgingModel:
    """Open a deployment.

    Args:
        repository: where it is, and its extractor.
        reference: "name", "name@version" or "name@alias".
        regions: a store of regions in place of the extractor.
        blind: show one empty region in place of every picture, as a text-only model was trained.

    Raises:
        ArtifactError: it is not there, or is damaged, or names no extractor where no regions are given.
        TaskNotSupportedError: there is nothing in a data set that its task could be asked.
    """
    found = find_deployment(repository, reference)
    deployment = found.deployment
    name, task = f"{deployment.name}@{deployment.version}", deployment.tasks[0]
    if task not in _ASKERS:
        raise TaskNotSupportedError(f"deployment {name} does {task}; evaluated here are {', '.join(_ASKERS)}")
    graphs = DeploymentGraphs(found)
    prepare = _blind(graphs.pipeline, name) if blind else preparation_of(graphs.pipeline, repository, regions)
    if PAIR_ROLE in graphs.roles:
        return JudgingModel(name, task, graphs.pipeline, _seeing(graphs, prepare), graphs.runner(PAIR_ROLE))
    return JudgingModel(name, task, graphs.pipeline, prepare, graphs.runner(FUSION_ROLE))


def judge_split(
    model: JudgingModel, root: Path, split: str, *, limit: int = 0, batch_size: int = 64, watch: Callable[[int], None]
) -> AccuracyReport:
    """Ask all, and count what is right.

    Args:
        model: is asked.
        root: of the data set.
        split: that is asked.
        limit: examples at most; 0 asks all.
        batch_size: examples a forward pass.
        watch: told how many are done.

    Raises:
        ArtifactError: the split has nothing for this task, or too many faulty records.
    """
    faults = FaultCounter(split)
    asked: Iterator[_Asked] = _ASKERS[model.task](model, open_source(root, split, "auto"), faults)
    if limit:
        asked = itertools.islice(asked, limit)
    answered: list[tuple[Question, str]] = []
    while pool := list(itertools.islice(asked, batch_size * POOL_BATCHES)):
        answered += _answer(model, pool, batch_size)
        watch(len(answered))
    if not answered and not faults.reasons:
        raise ArtifactError(f"split {split!r}: nothing in it for the task {model.task}")
    faults.check(len(answered))
    return report_accuracy(answered, _majority(answered), split)


def _blind(pipeline: Any, name: str) -> Prepare:
    if not hasattr(pipeline, "prepare_regions"):
        raise TaskNotSupportedError(f"deployment {name} reads pictures; only models of regions are judged blind here")
    reader = cast(RegionReader, pipeline)
    size = reader.regions.region_size
    empty = check_regions(np.array([[0, 0, 1, 1]], np.float32), np.zeros((1, size), np.float32))
    return lambda raw: reader.prepare_regions(empty)


def preparation_of(pipeline: Any, repository: Path, regions: Path | None = None) -> Prepare:
    """How a pipeline's pictures are made: of pixels, of a store's regions, or of what its extractor finds.

    Raises:
        ArtifactError: it reads regions, and there are none, and no extractor either.
    """
    if not hasattr(pipeline, "prepare_regions"):
        return lambda raw: cast(PreparedImage, pipeline.prepare_image(raw.image))
    reader = cast(RegionReader, pipeline)
    most = reader.regions.max_regions
    if regions is not None:
        store = open_region_store(regions)
        return lambda raw: reader.prepare_regions(store.regions(raw.record.id).first(most))
    if not reader.regions.extractor:
        raise ArtifactError("the model reads region features and names no extractor; give their folder (--regions)")
    detector = open_extractor(repository, reader.regions)

    def detect(raw: RawPicture) -> Regions:
        found = detector.detect(decode_image(raw.image))
        return check_regions(found.boxes, found.features, scores=found.scores)

    return lambda raw: reader.prepare_regions(detect(raw).first(most))


def _seeing(graphs: DeploymentGraphs, prepare: Prepare) -> Callable[[RawPicture], Outputs]:
    """A picture's row of outputs of "vision"."""
    return lambda raw: graphs.run_one(graphs.pipeline.vision_item(prepare(raw)))


def _hypotheses(model: JudgingModel, source: PictureSource, faults: FaultCounter) -> Iterator[_Asked]:
    def asked(record: PictureRecord, image: PreparedImage) -> Iterator[_Asked]:
        for one in record.hypotheses:
            query = EntailmentQuery(one.text)
            item = model.pipeline.prepare(image, query)
            yield _Asked(Question(one.text, {one.label: 1.0}, one.type), query, item, lambda result: str(result.label))

    return _of_pictures(model, source, faults, lambda record: bool(record.hypotheses), asked)


def _phrases(model: JudgingModel, source: PictureSource, faults: FaultCounter) -> Iterator[_Asked]:
    def asked(record: PictureRecord, image: PreparedImage) -> Iterator[_Asked]:
        for one in record.phrases:
            query, truth = GroundingQuery(one.text, top_k=1), np.array([one.box])

            def name(result: Any, truth: np.ndarray = truth) -> str:
                return FOUND if is_grounded(np.array([result.boxes[0].box]), truth)[0] else MISSED

            yield _Asked(Question(one.text, {FOUND: 1.0}, one.type), query, model.pipeline.prepare(image, query), name)

    return _of_pictures(model, source, faults, lambda record: bool(record.phrases), asked)


def _questions(model: JudgingModel, source: PictureSource, faults: FaultCounter) -> Iterator[_Asked]:
    def asked(record: PictureRecord, image: PreparedImage) -> Iterator[_Asked]:
        for one in record.questions:
            query = VqaQuery(one.text, top_k=1)
            yield _Asked(one, query, model.pipeline.prepare(image, query), lambda result: str(result.answers[0].answer))

    return _of_pictures(model, source, faults, lambda record: bool(record.questions), asked)


def _of_pictures(
    model: JudgingModel,
    source: PictureSource,
    faults: FaultCounter,
    is_wanted: Callable[[PictureRecord], bool],
    asked: Callable[[PictureRecord, PreparedImage], Iterator[_Asked]],
) -> Iterator[_Asked]:
    for raw in source.read(faults):
        if not is_wanted(raw.record):
            continue
        try:
            found = list(asked(raw.record, model.prepare(raw)))
        except RequestError as error:
            faults.note(raw.place, error)
            continue
        yield from found


def _statements(model: JudgingModel, source: PictureSource, faults: FaultCounter) -> Iterator[_Asked]:
    """A statement's right picture may come before its left one or after it; each is kept until its last statement."""
    records = list(source.read_records(FaultCounter("")))
    needed = Counter(name for one in records for told in one.pair_statements for name in (one.id, told.other))
    prepared: dict[str, Any] = {}
    join = model.pipeline.pair_item if hasattr(model.pipeline, "pair_item") else model.pipeline.prepare
    waiting: dict[str, list[tuple[str, PairStatement]]] = defaultdict(list)

    def ask(left: str, one: PairStatement) -> _Asked:
        query, right = ReasoningQuery(one.text), str(one.is_true).lower()
        item = join(prepared[left], prepared[one.other], query)
        for name in (left, one.other):
            needed[name] -= 1
            if not needed[name]:
                del prepared[name]
        question = Question(one.text, {right: 1.0}, one.type)
        return _Asked(question, query, item, lambda result: str(result.label).lower())

    for raw in source.read(faults):
        if not needed[raw.record.id]:
            continue
        try:
            prepared[raw.record.id] = model.prepare(raw)
        except RequestError as error:
            faults.note(raw.place, error)
            continue
        ready = waiting.pop(raw.record.id, [])
        for one in raw.record.pair_statements:
            (ready if one.other in prepared else waiting[one.other]).append((raw.record.id, one))
        yield from (ask(*pair) for pair in ready)
    for other, left_out in waiting.items():
        faults.note(other, ArtifactError(f"not in the split, though {len(left_out)} statements name it"))


_ASKERS: dict[Task, Callable[[JudgingModel, PictureSource, FaultCounter], Iterator[_Asked]]] = {
    Task.ENTAILMENT: _hypotheses,
    Task.REASONING: _statements,
    Task.GROUNDING: _phrases,
    Task.VQA: _questions,
}


def _answer(model: JudgingModel, pool: Sequence[_Asked], batch_size: int) -> list[tuple[Question, str]]:
    rows = run_items([asked.item for asked in pool], model.pipeline.collate, model.forward, batch_size)
    return [
        (asked.question, asked.name_of(model.pipeline.result(asked.query, row)))
        for asked, row in zip(pool, rows, strict=True)
    ]


def _majority(answered: Sequence[tuple[Question, str]]) -> dict[str, str]:
    """Type -> its most frequent right answer; the first in alphabetical order of equals. Finding needs no baseline."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question, _ in answered:
        if question.answers.keys() != {FOUND}:
            counts[question.type][question.best_answer] += 1
    return {kind: min(own, key=lambda answer: (-own[answer], answer)) for kind, own in counts.items()}
