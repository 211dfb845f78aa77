"""Whether texts fit a picture, with BLIP: by a head that reads both (ITM), and by the embeddings of each (ITC).

Source: Li et al. 2022 (arXiv:2201.12086), sec. 5.1; salesforce/BLIP, train_retrieval.py, evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.tasks import MatchResult

from vlp_pipeline.blip_inputs import BlipInputs, BlipPipeline
from vlp_pipeline.deployment_fit import check_width
from vlp_pipeline.dual_encoder import OUTPUTS, DualEncoderHead, ScoringByHead, unit_vector
from vlp_pipeline.generative import FUSION_ROLE, TEXT_ROLE
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.label_scores import ITM_LOGITS, LABELS_KEY, LabelScores, finite_row, truth_scores
from vlp_pipeline.pipeline import TEXT_AXIS, Item, PreparedImage
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits
from vlp_pipeline.vqa import softmax


@dataclass(frozen=True, slots=True)
class BlipMatchPipeline(BlipPipeline, ScoringByHead):
    """The parts of one deployment; a StagedMatchPipeline, and so an EmbeddingPipeline.

    Attributes:
        scores: what the two outputs of the ITM head mean.
        head: how two embeddings become a score.
    """

    scores: LabelScores
    head: DualEncoderHead

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> BlipMatchPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graphs.
        """
        inputs = BlipInputs.from_deployment(deployment, assets_dir, image_limits, text_limits)
        scores = truth_scores(deployment, ITM_LOGITS)
        own = {key: value for key, value in deployment.head.items() if key != LABELS_KEY}
        head = DualEncoderHead.from_mapping(own)
        for output in OUTPUTS.values():
            check_width(deployment, output, head.dimension, f"deployment.head.dimension is {head.dimension}")
        return cls(inputs, scores, head)

    def image_item(self, image: PreparedImage) -> Item:
        """A picture as a row of "vision"; see EmbeddingPipeline."""
        return self.vision_item(image)

    def text_item(self, text: str) -> Item:
        """A text as a row of "text"; see EmbeddingPipeline. One of more than `max_length` tokens is cut."""
        ids = self.inputs.text_ids(text, "text", looks=False)
        return Item({"input_ids": ids, "text_mask": np.ones_like(ids)}, {TEXT_AXIS: len(ids)}, TEXT_ROLE)

    def embedding(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vector from one row of outputs of "vision" or "text"; see EmbeddingPipeline."""
        return unit_vector(outputs, self.dimension)

    def check_match(self, text: str) -> None:
        """Refuse a text that cannot be judged; see StagedMatchPipeline."""
        self.inputs.text_ids(text, "text", looks=True)

    def fusion_item(self, cross: Mapping[str, np.ndarray], texts: Sequence[str]) -> Item:
        """Texts about one picture as one row of "fusion"; see StagedMatchPipeline."""
        return self.inputs.looking_item(
            FUSION_ROLE, [self.inputs.text_ids(text, "text", looks=True) for text in texts], cross
        )

    def results(
        self, outputs: Mapping[str, np.ndarray], similarities: Sequence[float] | None = None
    ) -> list[MatchResult]:
        """How well each text of a `fusion_item` fits; see StagedMatchPipeline.

        `score` is the ITM probability. Pictures are ordered by the head's logit plus the cosine, as published.
        """
        # A row of a batch has as many texts as the largest of them.
        given = len(outputs[ITM_LOGITS]) if ITM_LOGITS in outputs else 0
        texts = given if similarities is None else len(similarities)
        logits = finite_row(outputs, ITM_LOGITS, (max(given, texts), 2))[:texts]
        true = self.scores.labels.index("true")
        probabilities = softmax(logits)[:, true]
        cosines = [None] * texts if similarities is None else [float(cosine) for cosine in similarities]
        return [
            MatchResult(
                score=float(probability),
                itm=float(probability),
                itc=cosine,
                rank_score=None if cosine is None else float(logit) + cosine,
            )
            for probability, logit, cosine in zip(probabilities, logits[:, true], cosines, strict=True)
        ]
