"""Is a statement about two pictures true, with BLIP: each picture is seen by itself, then a text looks at both.

Source: Li et al. 2022 (arXiv:2201.12086), sec. 5.4; salesforce/BLIP, models/blip_nlvr.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.tasks import ReasoningQuery, ReasoningResult

from vlp_pipeline.blip_inputs import IMAGE_STATES, BlipInputs, BlipPipeline
from vlp_pipeline.generative import PAIR_ROLE
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.label_scores import REASONING_LOGITS, LabelScores, truth_of, truth_scores
from vlp_pipeline.pipeline import TEXT_AXIS, Item
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits


@dataclass(frozen=True, slots=True)
class BlipReasoningPipeline(BlipPipeline):
    """The parts of one deployment; a StagedReasoningPipeline.

    Attributes:
        scores: what the two outputs mean.
    """

    scores: LabelScores

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> BlipReasoningPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graphs.
        """
        inputs = BlipInputs.from_deployment(deployment, assets_dir, image_limits, text_limits)
        return cls(inputs, truth_scores(deployment, REASONING_LOGITS))

    def check(self, query: ReasoningQuery) -> None:
        """Refuse a statement that cannot be judged; see StagedReasoningPipeline."""
        self._statement_ids(query)

    def pair_item(self, left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], query: ReasoningQuery) -> Item:
        """Both pictures' states and the statement as one row of "pair"; see StagedReasoningPipeline."""
        ids = self._statement_ids(query)
        arrays = {
            "left_states": left[IMAGE_STATES],
            "right_states": right[IMAGE_STATES],
            "input_ids": ids,
            "text_mask": np.ones_like(ids),
        }
        return Item(arrays, {TEXT_AXIS: len(ids)}, PAIR_ROLE)

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """How likely it is true, by the row `reasoning_logits`, (2,) float; see StagedReasoningPipeline."""
        return ReasoningResult(truth_of(self.scores, outputs))

    def _statement_ids(self, query: ReasoningQuery) -> np.ndarray:
        return self.inputs.text_ids(query.statement, "statement", looks=True)
