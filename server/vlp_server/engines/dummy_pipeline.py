"""The dummy family's pipelines: pictures are really decoded and checked, texts really split, answers made up.

What they share with the real ones (picture and text limits, ranking, padding) is theirs; only the meaning is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.label_scores import REASONING_LOGITS, TRUE_LABEL, LabelScores, finite_row, truth_of
from vlp_pipeline.pipeline import Item, PreparedImage, Scoring
from vlp_pipeline.registry import Pipeline
from vlp_pipeline.text import TextLimits
from vlp_pipeline.vqa import AnswerRanker, sigmoid, softmax
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import (
    EntailmentQuery,
    EntailmentResult,
    GroundingQuery,
    GroundingResult,
    ReasoningQuery,
    ReasoningResult,
    ScoredBox,
    Task,
    VqaQuery,
    VqaResult,
)

from vlp_server.engines.dummy_arrays import DummyArrays, boxes_of, output_of
from vlp_server.engines.dummy_captions import DummyCaptionPipeline
from vlp_server.engines.dummy_deployment import DUMMY_DIMENSION, DUMMY_JUDGEMENTS, DUMMY_LABELS, DUMMY_REGIONS
from vlp_server.engines.dummy_regions import DummyDetectorPipeline, DummyRegionReader


def build_dummy_pipeline(deployment: Deployment, image_limits: ImageLimits, text_limits: TextLimits) -> Pipeline:
    """The pipeline of a dummy deployment's kind."""
    pipeline = _PIPELINES[deployment.tasks[0]](deployment, image_limits, text_limits)
    reads_regions = "region_size" in deployment.image
    return cast(Pipeline, DummyRegionReader(pipeline, deployment) if reads_regions else pipeline)


class DummyVqaPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.VqaPipeline."""

    _ranker = AnswerRanker(DUMMY_LABELS)

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Join a picture and the words of a question."""
        item = self._join([image], query.question, "question")
        if query.candidates is not None:
            self._ranker.find_candidates(query.candidates)
        return item

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """Rank the made-up answers."""
        return self._ranker.rank(output_of(outputs, "logits"), query)


class DummyEmbeddingPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.EmbeddingPipeline. Equal content gives equal vectors, and any other content others."""

    dimension = DUMMY_DIMENSION
    logit_scale = 10.0
    logit_bias = 0.0
    scoring: Scoring = "softmax"

    def image_item(self, image: PreparedImage) -> Item:
        """A picture for the graph with role "image"."""
        return Item(image.arrays, image.sizes, "image")

    def text_item(self, text: str) -> Item:
        """A text for the graph with role "text"."""
        if not text.strip():
            raise InvalidArgumentError("text: empty", field="text")
        arrays = self._words(text, "text")
        return Item(arrays, {"text": len(arrays["input_ids"])}, "text")

    def embedding(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The made-up vector at length 1."""
        vector = output_of(outputs, "image_embeds" if "image_embeds" in outputs else "text_embeds").astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class DummyMatchPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.MatchPipeline."""

    def prepare(self, image: PreparedImage, text: str) -> Item:
        """Join a picture and the words of a text."""
        return self._join([image], text, "text")

    def score(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The made-up probability."""
        return float(sigmoid(output_of(outputs, "itm"))[0])


class DummyEntailmentPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.EntailmentPipeline."""

    _scores = LabelScores(DUMMY_JUDGEMENTS, "entailment_logits")

    def prepare(self, image: PreparedImage, query: EntailmentQuery) -> Item:
        """Join a picture and the words of a hypothesis."""
        return self._join([image], query.hypothesis, "hypothesis")

    def result(self, query: EntailmentQuery, outputs: Mapping[str, np.ndarray]) -> EntailmentResult:
        """The made-up judgement."""
        return EntailmentResult(self._scores.rank(outputs))


class DummyReasoningPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.ReasoningPipeline."""

    _scores = LabelScores(("false", TRUE_LABEL), REASONING_LOGITS)

    def prepare(self, left: PreparedImage, right: PreparedImage, query: ReasoningQuery) -> Item:
        """Join two pictures and the words of a statement."""
        return self._join([left, right], query.statement, "statement")

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """The made-up probability."""
        return ReasoningResult(truth_of(self._scores, outputs))


class DummyGroundingPipeline(DummyArrays):
    """See vlp_pipeline.pipeline.GroundingPipeline. Boxes are made up, also where the model reads regions."""

    def prepare(self, image: PreparedImage, query: GroundingQuery) -> Item:
        """Join a picture and the words of a phrase."""
        return self._join([image], query.phrase, "phrase")

    def result(self, query: GroundingQuery, outputs: Mapping[str, np.ndarray]) -> GroundingResult:
        """The made-up boxes, best first."""
        boxes = boxes_of(finite_row(outputs, "grounding_corners", (DUMMY_REGIONS, 4))).tolist()
        scores = softmax(finite_row(outputs, "grounding_logits", (DUMMY_REGIONS,)))
        best = np.argsort(-scores, kind="stable")[: query.top_k]
        return GroundingResult(
            tuple(
                ScoredBox((x0, y0, x1, y1), float(scores[index])) for index in best for x0, y0, x1, y1 in [boxes[index]]
            )
        )


_PIPELINES: Mapping[Task, type[DummyArrays]] = {
    Task.VQA: DummyVqaPipeline,
    Task.EMBEDDINGS: DummyEmbeddingPipeline,
    Task.MATCH: DummyMatchPipeline,
    Task.ENTAILMENT: DummyEntailmentPipeline,
    Task.REASONING: DummyReasoningPipeline,
    Task.GROUNDING: DummyGroundingPipeline,
    Task.REGIONS: DummyDetectorPipeline,
    Task.CAPTION: DummyCaptionPipeline,
}
