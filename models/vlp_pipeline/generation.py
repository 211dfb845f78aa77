"""Generation of texts: from the logits of one step to what is read in the next. Which algorithm is the plan's choice.

The caller runs the model: `begin_generation`, the prompt through the decoder, `start` with the logits of its last
position, and then, until a step is done, the step's tokens through the decoder and `advance` with what comes of them.
States stay where the model is: a step says by `parents` which row's states each row continues.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlp_pipeline.answer_ranking import rank_answers
from vlp_pipeline.beam_search import BeamSearch
from vlp_pipeline.decoding_plan import DecodingPlan, fill_decoding
from vlp_pipeline.generation_steps import GeneratedText, Generation, NextStep
from vlp_pipeline.greedy_search import GreedySearch
from vlp_pipeline.token_sampling import SampledTexts

__all__ = [
    "BeamSearch",
    "DecodingPlan",
    "GeneratedText",
    "Generation",
    "GreedySearch",
    "NextStep",
    "SampledTexts",
    "begin_generation",
    "fill_decoding",
    "rank_answers",
]


def begin_generation(plan: DecodingPlan, prompt_ids: Sequence[int] | np.ndarray) -> Generation:
    """The algorithm that a plan asks for.

    Args:
        plan: a temperature draws tokens, several beams search with beams, else the likeliest tokens are taken.
        prompt_ids: (tokens,) int, what the decoder reads first, the start token included; for the repetition penalty.
    """
    if plan.samples:
        return SampledTexts(plan, prompt_ids)
    if plan.num_beams > 1:
        return BeamSearch(plan, prompt_ids)
    return GreedySearch(plan, prompt_ids)
