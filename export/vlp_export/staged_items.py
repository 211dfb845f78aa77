"""Rows of models whose graphs follow one another: a later graph is given what the checkpoint made of the earlier."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from vlp_models.evaluation.onnx_runner import Runner
from vlp_pipeline.decoder_rows import TOKENS_AXIS, decoder_item
from vlp_pipeline.generative import (
    DECODER_ROLE,
    CaptionPipeline,
    DecoderShape,
    LookedAt,
    StagedMatchPipeline,
    StagedPictures,
    StagedReasoningPipeline,
    WrittenAnswerPipeline,
)
from vlp_pipeline.pipeline import Item, PreparedImage
from vlp_spec.tasks import CaptionQuery, ReasoningQuery, Task, VqaQuery

from vlp_export.module_runs import run_module
from vlp_export.plan import Arrays, ExportPlan

# Texts of a picture in turn: alone, and in company of others, which are of other lengths as a rule.
_TEXT_COUNTS = (1, 3, 2)
_ANSWERS = 5
_BEAMS = 3
_READ_WORDS = 8


class StagedSamples:
    """Makes the rows of samples.

    Args:
        plan: of the graphs, whose modules are the checkpoint; the first one reads pictures alone.
        pipeline: of the deployment that is being made.
        images: of the samples.
        texts: likewise.
        runners: role -> what stands for its graph; None takes the checkpoint's modules.
    """

    def __init__(
        self,
        plan: ExportPlan,
        pipeline: StagedPictures,
        images: Sequence[PreparedImage],
        texts: Sequence[str],
        runners: Mapping[str, Runner] | None = None,
    ) -> None:
        self._answering = plan.answer.outputs
        self._runners = runners or {graph.role: functools.partial(run_module, graph) for graph in plan.graphs}
        self._task = plan.tasks[0]
        self._graphs = {graph.role: graph for graph in plan.graphs}
        self._positions = plan.axes[TOKENS_AXIS].max if TOKENS_AXIS in plan.axes else 0
        self._pipeline = pipeline
        self._images = images
        self._texts = texts

    def rows(self) -> Iterator[list[Item]]:
        """Of each sample a row for every graph."""
        make = {
            Task.CAPTION: self._caption,
            Task.VQA: self._answer,
            Task.MATCH: self._match,
            Task.REASONING: self._reasoning,
        }[self._task]
        for number, image in enumerate(self._images):
            first = self._pipeline.vision_item(image)
            yield [first, *make(number, self._run(first))]

    def answering(self) -> Iterator[Arrays]:
        """Of each sample the outputs that make its answer, without the batch axis, when every graph is given what the
        graphs before it made: here the differences of all of them add up.
        """
        for items in self.rows():
            found: Arrays = {}
            for item in items:
                if self._answering & {spec.name for spec in self._graphs[item.role].outputs}:
                    found |= self._run(item)
            yield {name: array for name, array in found.items() if name in self._answering}

    def _caption(self, number: int, seen: Arrays) -> list[Item]:
        pipeline = cast(CaptionPipeline, self._pipeline)
        cross = pipeline.cross_item(seen)
        looked_at = pipeline.looked_at(self._run(cross))
        own = pipeline.begin(CaptionQuery())
        told = [pipeline.begin(CaptionQuery(text)) for text in self._read_texts(number)]
        return [cross, self._decoder(number, looked_at, own, told)]

    def _answer(self, number: int, seen: Arrays) -> list[Item]:
        pipeline = cast(WrittenAnswerPipeline, self._pipeline)
        queries = [VqaQuery(text) for text in self._some_texts(number)]
        cross = pipeline.cross_item(seen)
        question = pipeline.question_item(self._run(cross), queries)
        looked_at = pipeline.looked_at(self._run(question), queries)[0]
        answers = tuple(dict.fromkeys(self._read_texts(number)))
        ids, lengths = pipeline.candidate_ids(VqaQuery(queries[0].question, candidates=answers))
        told = [row[: length - 1] for row, length in zip(ids, lengths, strict=True)]
        return [cross, question, self._decoder(number, looked_at, pipeline.begin(queries[0]), told)]

    def _match(self, number: int, seen: Arrays) -> list[Item]:
        pipeline = cast(StagedMatchPipeline, self._pipeline)
        cross = pipeline.cross_item(seen)
        fusion = pipeline.fusion_item(self._run(cross), self._some_texts(number))
        return [cross, fusion, pipeline.text_item(self._texts[number])]

    def _reasoning(self, number: int, seen: Arrays) -> list[Item]:
        pipeline = cast(StagedReasoningPipeline, self._pipeline)
        other = self._run(pipeline.vision_item(self._images[number - 1]))
        return [pipeline.pair_item(seen, other, ReasoningQuery(self._texts[number]))]

    def _decoder(self, number: int, looked_at: LookedAt, own: np.ndarray, told: Sequence[np.ndarray]) -> Item:
        """In turn: a beginning, a step of several beams, answers side by side, and a step of one text.

        Args:
            number: of the sample.
            looked_at: what the texts are about.
            own: how the model begins.
            told: texts to read, (tokens,) int32 each, the start token first.
        """
        shape = DecoderShape.of_inputs(self._graphs[DECODER_ROLE].inputs, DECODER_ROLE)
        most = max(2, self._positions // 2)  # in company, there are as many new tokens as the longest row has
        turn = number % 4
        if turn == 0:
            return decoder_item(shape, looked_at, own[None, :most])
        if turn == 2:
            return decoder_item(shape, looked_at, _side_by_side(told[:_ANSWERS], most))
        beams = told[: _BEAMS if turn == 1 else 1]
        length = min(most, *(len(ids) for ids in beams))
        texts = np.stack([ids[:length] for ids in beams])
        past = self._run(decoder_item(shape, looked_at, texts[:, :-1]))
        return decoder_item(shape, looked_at, texts[:, -1:], past)

    def _some_texts(self, number: int) -> list[str]:
        """The sample's own text, alone or with those of the samples behind it."""
        return self._behind(number, _TEXT_COUNTS[number % len(_TEXT_COUNTS)])

    def _read_texts(self, number: int) -> list[str]:
        return [" ".join(text.split()[:_READ_WORDS]) for text in self._behind(number, _ANSWERS)]

    def _behind(self, number: int, count: int) -> list[str]:
        return [self._texts[(number + step) % len(self._texts)] for step in range(count)]

    def _run(self, item: Item) -> Arrays:
        """The outputs for one row, without the batch axis."""
        outputs = self._runners[item.role](self._pipeline.collate([item]))
        return {name: array[0] for name, array in outputs.items()}


def _side_by_side(texts: Sequence[np.ndarray], most: int) -> np.ndarray:
    """(texts, tokens) int32; what stands behind a shorter one changes nothing before it."""
    cut = [ids[:most] for ids in texts]
    rows = np.zeros((len(cut), max(len(ids) for ids in cut)), np.int32)
    for row, ids in zip(rows, cut, strict=True):
        row[: len(ids)] = ids
    return rows
