"""Beam search, as transformers 5 does it with `early_stopping=False`.

Of all continuations of the live beams the 2 * beams likeliest are looked at. Those that end (or are out of tokens) and
stand among the first `beams` become finished texts; the others go on as the next beams. A finished text is worth its
log-probability / length ** length_penalty, the end counted; the best `beams` are kept. The search is over once there
are as many and the likeliest live beam, divided by the length of now, is not above the worst of them. With a length
penalty above 0 that rule can miss a longer text that would have won; it is the reference's.

Source: transformers 5.23, GenerationMixin._beam_search, reimplemented; sums and quotients are float32 as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlp_pipeline.decoding_plan import DecodingPlan
from vlp_pipeline.generation_steps import GeneratedText, NextStep, step_after_the_last, texts_too_early
from vlp_pipeline.token_scores import TokenRules, log_softmax, no_token_left, sound_logits


@dataclass(frozen=True, slots=True)
class _Beam:
    """A text that can still grow: `score` orders beams, `log_probability` is the model's own, before the rules."""

    tokens: tuple[int, ...] = ()
    score: np.float32 = np.float32(0)
    log_probability: float = 0.0


class BeamSearch:
    """The likeliest texts among those that beams reach. See `Generation`.

    Equal continuations keep the order of their beams, then that of the vocabulary; the reference leaves that open.
    """

    def __init__(self, plan: DecodingPlan, prompt_ids: Sequence[int] | np.ndarray) -> None:
        self.rows = plan.num_beams
        self._plan = plan
        self._rules = TokenRules(plan, prompt_ids)
        self._live = [_Beam()]
        self._finished: list[GeneratedText] = []
        self._length = 0
        self._done = False

    def start(self, logits: np.ndarray) -> NextStep:
        """See `Generation`."""
        return self.advance(logits[None])

    def advance(self, logits: np.ndarray) -> NextStep:
        """See `Generation`."""
        if self._done:
            raise step_after_the_last()
        own = log_softmax(sound_logits(logits, range(len(self._live))))
        ruled = [self._rules.apply(row, beam.tokens) for row, beam in zip(own, self._live, strict=True)]
        totals = np.stack(ruled) + np.array([beam.score for beam in self._live], dtype=np.float32)[:, None]
        self._length += 1
        live, parents = self._continue(own, totals)
        self._live = live
        self._done = not self._can_improve()
        said = self._finished[0].tokens if self._done else ()
        # Rows without a beam, which only a vocabulary of a few words leaves, read the pad token and are ignored.
        spare = self.rows - len(live)
        tokens = [beam.tokens[-1] for beam in live] + [self._plan.pad_id] * spare
        return NextStep(
            np.array(tokens, dtype=np.int32), np.array(parents + [0] * spare, dtype=np.int32), said, self._done
        )

    def texts(self) -> tuple[GeneratedText, ...]:
        """See `Generation`; by `beam_score`."""
        if not self._done:
            raise texts_too_early()
        return tuple(self._finished[: self._plan.num_texts])

    def _continue(self, own: np.ndarray, totals: np.ndarray) -> tuple[list[_Beam], list[int]]:
        """Sort the best continuations, (beams, vocabulary), into finished texts and the next beams with their rows."""
        likeliest = _likeliest(totals.ravel(), 2 * self.rows)
        if not len(likeliest):
            raise no_token_left()
        live: list[_Beam] = []
        parents: list[int] = []
        for place, index in enumerate(likeliest):
            row, token = divmod(int(index), totals.shape[1])
            beam = self._live[row]
            grown = _Beam((*beam.tokens, token), totals[row, token], beam.log_probability + float(own[row, token]))
            if token == self._plan.end_id or self._length == self._plan.max_tokens:
                if place < self.rows:
                    self._finished.append(self._finish(grown))
            elif len(live) < self.rows:
                live.append(grown)
                parents.append(row)
        # Sorting is stable: of equal texts the one that was finished first stays before.
        self._finished.sort(key=lambda text: -(text.beam_score or 0.0))
        del self._finished[self.rows :]
        return live, parents

    def _finish(self, beam: _Beam) -> GeneratedText:
        ended = beam.tokens[-1] == self._plan.end_id
        return GeneratedText(
            tokens=beam.tokens[:-1] if ended else beam.tokens,
            log_probability=beam.log_probability,
            counted=len(beam.tokens),
            ended=ended,
            beam_score=float(self._worth(beam)),
        )

    def _worth(self, beam: _Beam) -> np.float32:
        """What a beam is compared by, were it finished now."""
        return np.float32(beam.score / np.float32(self._length**self._plan.length_penalty))

    def _can_improve(self) -> bool:
        """Whether the live beams may still bring a text that is kept."""
        if not self._live or len(self._finished) < self.rows:
            return bool(self._live)
        return float(self._worth(self._live[0])) > (self._finished[-1].beam_score or 0.0)


def _likeliest(totals: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` greatest of (N,), the greatest first, equal ones in their order; none of -infinity."""
    count = min(count, len(totals))
    least = np.partition(totals, len(totals) - count)[len(totals) - count]
    found = np.flatnonzero((totals >= least) & (totals > -np.inf))
    return np.asarray(found[np.argsort(-totals[found], kind="stable")][:count])
