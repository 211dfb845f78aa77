"""Greedy search: always the likeliest token, so a text grows word by word and can be shown while it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlp_pipeline.decoding_plan import DecodingPlan
from vlp_pipeline.generation_steps import GeneratedText, GrowingText, NextStep
from vlp_pipeline.token_scores import TokenRules, log_softmax, no_token_left, sound_logits

_STAY = np.zeros(1, dtype=np.int32)


class GreedySearch:
    """One text of the likeliest tokens; of equally likely ones the first in the vocabulary. See `Generation`.

    Token for token what transformers 5 generates with `do_sample=False`.
    """

    rows = 1

    def __init__(self, plan: DecodingPlan, prompt_ids: Sequence[int] | np.ndarray) -> None:
        self._rules = TokenRules(plan, prompt_ids)
        self._text = GrowingText(plan.end_id, plan.max_tokens)

    def start(self, logits: np.ndarray) -> NextStep:
        """See `Generation`."""
        return self.advance(logits[None])

    def advance(self, logits: np.ndarray) -> NextStep:
        """See `Generation`."""
        row = sound_logits(logits, (0,))[0]
        scores = self._rules.apply(row, self._text.tokens)
        token = int(scores.argmax())
        if scores[token] == -np.inf:
            raise no_token_left()
        said = self._text.add(token, float(log_softmax(row)[token]))
        return NextStep(np.array([token], dtype=np.int32), _STAY, said, self._text.finished)

    def texts(self) -> tuple[GeneratedText, ...]:
        """See `Generation`."""
        return (self._text.text(),)
