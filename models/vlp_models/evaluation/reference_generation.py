"""What transformers' own `generate` writes of the same weights, and how sure it was: what our generation is held to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from vlp_pipeline.generation import DecodingPlan


@dataclass(frozen=True, slots=True)
class ReferenceText:
    """A text by `generate`.

    Attributes:
        tokens: without beginning and end.
        gap: how far the second best was behind at the closest: in logits of a token where it was greedy, in the score
            of the whole text with beams. Below 1e-4 another order of sums may choose otherwise.
    """

    tokens: tuple[int, ...]
    gap: float


@torch.no_grad()
def generate_reference(
    decoder: nn.Module, looked_at: Tensor, beginning: np.ndarray, plan: DecodingPlan
) -> ReferenceText:
    """Let transformers write.

    Args:
        decoder: transformers' BlipTextLMHeadModel, in evaluation mode.
        looked_at: (1, S, D) states that it looks at.
        beginning: (tokens,) int, the start token first.
        plan: greedy, or beams.
    """
    found = decoder.generate(  # type: ignore[operator]
        input_ids=torch.from_numpy(np.asarray(beginning)).long()[None],
        encoder_hidden_states=looked_at,
        max_new_tokens=plan.max_tokens,
        min_new_tokens=plan.min_tokens or None,
        num_beams=plan.num_beams,
        num_return_sequences=plan.num_beams,
        length_penalty=plan.length_penalty,
        repetition_penalty=plan.repetition_penalty,
        eos_token_id=plan.end_id,
        pad_token_id=plan.pad_id,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    tokens = found.sequences[0, len(beginning) :].tolist()
    if plan.end_id in tokens:
        tokens = tokens[: tokens.index(plan.end_id)]
    if plan.num_beams > 1:
        best, second = found.sequences_scores[:2].tolist()
        return ReferenceText(tuple(tokens), best - second)
    steps = torch.stack(found.scores)[:, 0].topk(2).values
    return ReferenceText(tuple(tokens), float((steps[:, 0] - steps[:, 1]).min()))
