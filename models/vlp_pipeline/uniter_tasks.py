"""The tasks of UNITER: each a graph with role "fusion" that reads a text and region features together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InferenceError
from vlp_spec.repository import LABELS_ASSET
from vlp_spec.tasks import (
    EntailmentQuery,
    EntailmentResult,
    GroundingQuery,
    GroundingResult,
    ReasoningQuery,
    ReasoningResult,
    ScoredBox,
    VqaQuery,
    VqaResult,
)

from vlp_pipeline.deployment_fit import check_width
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.label_scores import (
    ITM_LOGITS,
    REASONING_LOGITS,
    LabelScores,
    finite_row,
    truth_of,
    truth_scores,
)
from vlp_pipeline.pipeline import Buckets, Item, PreparedImage
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import Regions
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, TextProcessor
from vlp_pipeline.uniter_inputs import UniterInputs
from vlp_pipeline.vqa import AnswerRanker, read_labels, softmax

LOGITS, ENTAILMENT_LOGITS = "logits", "entailment_logits"
GROUNDING_LOGITS, GROUNDING_BOXES = "grounding_logits", "grounding_boxes"


@dataclass(frozen=True, slots=True)
class UniterPipeline:
    """What the pipelines of all tasks share; a RegionReader."""

    inputs: UniterInputs
    family: ClassVar[str] = "uniter"

    @property
    def text_processor(self) -> TextProcessor:
        """What texts become tokens by."""
        return self.inputs.text_processor

    @property
    def regions(self) -> RegionSettings:
        """Which features the model reads, and who makes them."""
        return self.inputs.settings

    def prepare_regions(self, regions: Regions) -> PreparedImage:
        """Regions as the graph takes them; see RegionReader."""
        return self.inputs.prepare_regions(regions)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items into the graph's inputs; see VqaPipeline."""
        return self.inputs.collate(items, buckets)


@dataclass(frozen=True, slots=True)
class UniterVqaPipeline(UniterPipeline):
    """Answers questions; see VqaPipeline."""

    ranker: AnswerRanker

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> UniterVqaPipeline:
        """Read the deployment's settings and assets; an ArtifactError says what is broken."""
        ranker = AnswerRanker(read_labels(assets_dir / LABELS_ASSET))
        check_width(deployment, LOGITS, len(ranker.labels), f"{LABELS_ASSET} has {len(ranker.labels)} answers")
        return cls(UniterInputs.from_deployment(deployment, assets_dir, text_limits), ranker)

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Join regions and a question; see VqaPipeline."""
        if query.candidates is not None:
            self.ranker.find_candidates(query.candidates)
        return self.inputs.join([image], query.question, "question")

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """Rank the answers by the row `logits`, (labels,) float; see VqaPipeline."""
        return self.ranker.rank(finite_row(outputs, LOGITS, (len(self.ranker.labels),)), query)


@dataclass(frozen=True, slots=True)
class UniterMatchPipeline(UniterPipeline):
    """Says whether a text fits a picture; see MatchPipeline."""

    scores: LabelScores

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> UniterMatchPipeline:
        """Read the deployment's settings and assets; an ArtifactError says what is broken."""
        inputs = UniterInputs.from_deployment(deployment, assets_dir, text_limits)
        return cls(inputs, truth_scores(deployment, ITM_LOGITS))

    def prepare(self, image: PreparedImage, text: str) -> Item:
        """Join regions and a text; see MatchPipeline."""
        return self.inputs.join([image], text, "text")

    def score(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The probability that they belong together, from the row `itm_logits`, (2,); see MatchPipeline."""
        return truth_of(self.scores, outputs)


@dataclass(frozen=True, slots=True)
class UniterEntailmentPipeline(UniterPipeline):
    """Says whether a picture entails a hypothesis; see EntailmentPipeline."""

    scores: LabelScores

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> UniterEntailmentPipeline:
        """Read the deployment's settings and assets; an ArtifactError says what is broken."""
        scores = LabelScores.from_head(deployment.head, ENTAILMENT_LOGITS)
        told = f"deployment.head.labels has {len(scores.labels)} names"
        check_width(deployment, ENTAILMENT_LOGITS, len(scores.labels), told)
        return cls(UniterInputs.from_deployment(deployment, assets_dir, text_limits), scores)

    def prepare(self, image: PreparedImage, query: EntailmentQuery) -> Item:
        """Join regions and a hypothesis; see EntailmentPipeline."""
        return self.inputs.join([image], query.hypothesis, "hypothesis")

    def result(self, query: EntailmentQuery, outputs: Mapping[str, np.ndarray]) -> EntailmentResult:
        """The labels by the row `entailment_logits`, (labels,) float; see EntailmentPipeline."""
        return EntailmentResult(self.scores.rank(outputs))


@dataclass(frozen=True, slots=True)
class UniterReasoningPipeline(UniterPipeline):
    """Says whether a statement about two pictures is true; see ReasoningPipeline."""

    scores: LabelScores

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> UniterReasoningPipeline:
        """Read the deployment's settings and assets; an ArtifactError says what is broken."""
        inputs = UniterInputs.from_deployment(deployment, assets_dir, text_limits, pictures=2)
        return cls(inputs, truth_scores(deployment, REASONING_LOGITS))

    def prepare(self, left: PreparedImage, right: PreparedImage, query: ReasoningQuery) -> Item:
        """Join two pictures' regions and a statement; see ReasoningPipeline."""
        return self.inputs.join([left, right], query.statement, "statement")

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """How likely it is true, by the row `reasoning_logits`, (2,) float; see ReasoningPipeline."""
        return ReasoningResult(truth_of(self.scores, outputs))


@dataclass(frozen=True, slots=True)
class UniterGroundingPipeline(UniterPipeline):
    """Finds the region that a phrase names; see GroundingPipeline."""

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> UniterGroundingPipeline:
        """Read the deployment's settings and assets; an ArtifactError says what is broken."""
        return cls(UniterInputs.from_deployment(deployment, assets_dir, text_limits))

    def prepare(self, image: PreparedImage, query: GroundingQuery) -> Item:
        """Join regions and a phrase; see GroundingPipeline."""
        return self.inputs.join([image], query.phrase, "phrase")

    def result(self, query: GroundingQuery, outputs: Mapping[str, np.ndarray]) -> GroundingResult:
        """The best boxes, by the rows `grounding_logits` (R,) and `grounding_boxes` (R, 4); see GroundingPipeline."""
        boxes = outputs.get(GROUNDING_BOXES)
        if boxes is None or boxes.ndim != 2 or boxes.shape[1] != 4:
            got = None if boxes is None else boxes.shape
            raise InferenceError(f"model output: {GROUNDING_BOXES} {got}, expected (regions, 4)")
        logits = finite_row(outputs, GROUNDING_LOGITS, (len(boxes),))
        is_region = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # padding has no area
        if not is_region.any():
            raise InferenceError(f"model output: {GROUNDING_BOXES} holds no box, for this item alone")
        boxes, scores = boxes[is_region], softmax(logits[is_region])
        best = np.argsort(-scores, kind="stable")[: query.top_k]
        return GroundingResult(tuple(ScoredBox(_box(boxes[index]), float(scores[index])) for index in best))


def _box(row: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(np.clip(edge, 0, 1)) for edge in row)
    return x0, y0, x1, y1
