"""The texts that are being written side by side: each step of the engine goes on with all of them. Blocking, no loop.

Requests join and leave between steps (iteration-level batching): none waits for the longest of a batch, and what one of
them does changes no other's words.

Source: Yu et al. 2022, Orca (OSDI '22), sec. 3.1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generation import DecodingPlan, GeneratedText, Generation, NextStep, begin_generation, rank_answers
from vlp_pipeline.generative import DecoderShape, LookedAt
from vlp_spec.errors import InferenceError, InternalError

from vlp_server.core.bisection import RowOutputs, run_bisecting
from vlp_server.core.decoder_states import DecoderStates

READ_TOKENS = 1024
"""Tokens that the decoder reads in one call at most, padding counted, where it reads more than one of a text."""
Feeds = Mapping[str, NDArray[Any]]
RunDecoder = Callable[[Feeds], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, eq=False)
class TextToWrite:
    """What a decoder is asked for; compared by identity.

    Attributes:
        looked_at: what it looks at while it writes.
        beginning: (tokens,) int32, at least one.
        plan: how it chooses.
    """

    looked_at: LookedAt
    beginning: NDArray[np.int32]
    plan: DecodingPlan

    @property
    def positions(self) -> int:
        """The most that one of its texts will have; its last token is never read."""
        return len(self.beginning) + self.plan.max_tokens - 1

    @property
    def rows(self) -> int:
        """Texts that grow side by side for it."""
        return self.plan.num_texts if self.plan.samples else self.plan.num_beams


@dataclass(frozen=True, slots=True, eq=False)
class AnswersToWeigh:
    """Answers of which a decoder is asked how likely it would write them; compared by identity.

    Attributes:
        looked_at: what it looks at.
        answer_ids: (answers, tokens) int32, each with its start and end, padded behind.
        lengths: (answers,) int32, real tokens of each.
        smoothing: see `rank_answers`.
    """

    looked_at: LookedAt
    answer_ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    smoothing: float = 0.0

    @property
    def rows(self) -> int:
        """Answers side by side."""
        return len(self.answer_ids)

    @property
    def positions(self) -> int:
        """Tokens of the longest."""
        return int(self.answer_ids.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a step did for one text.

    Attributes:
        tokens: settled by this step.
        texts: the finished texts, once it is done.
        fault: of this text alone; it has left.
    """

    text: TextToWrite
    tokens: tuple[int, ...] = ()
    texts: tuple[GeneratedText, ...] | None = None
    fault: InferenceError | None = None

    @property
    def has_left(self) -> bool:
        """Whether nothing more comes."""
        return self.texts is not None or self.fault is not None


@dataclass(slots=True, eq=False)
class _Writer:
    """A text with its algorithm, and what it reads next; None before it has begun."""

    text: TextToWrite
    generation: Generation
    next: NextStep | None = None


@dataclass(slots=True, eq=False)
class _Group:
    """Texts of equally many rows, and their states; writer i has slot i."""

    states: DecoderStates
    writers: list[_Writer] = field(default_factory=list)

    def remove(self, slot: int) -> None:
        moved = self.states.leave(slot)
        self.writers[slot] = self.writers[moved]
        del self.writers[moved]


class RunningTexts:
    """All texts that one decoder writes now. One thread at a time.

    Args:
        shape: of the decoder's states.
        run: one call of the decoder: inputs to outputs, batch first.
    """

    def __init__(self, shape: DecoderShape, run: RunDecoder) -> None:
        self._shape = shape
        self._run = run
        self._groups: dict[int, _Group] = {}

    @property
    def rows(self) -> int:
        """Texts, beams counted."""
        return sum(group.states.rows * len(group.writers) for group in self._groups.values())

    def begin(self, texts: Sequence[TextToWrite]) -> list[Said]:
        """Let texts join: read their beginnings, and choose their first tokens."""
        said: list[Said] = []
        for rows in {text.rows for text in texts}:
            group = self._groups.setdefault(rows, _Group(DecoderStates(self._shape, rows)))
            joining = sorted((text for text in texts if text.rows == rows), key=lambda text: len(text.beginning))
            for together in _of_like_lengths(joining):
                first = len(group.writers)
                for text in together:
                    group.states.join(text.looked_at, text.positions)
                    group.writers.append(_Writer(text, begin_generation(text.plan, text.beginning)))
                slots = range(first, len(group.writers))
                outcomes = run_bisecting(slots, functools.partial(self._begin_slots, group))
                said += self._take(group, first, outcomes)
        self._drop_empty()
        return said

    def step(self) -> list[Said]:
        """Go on by one token with every text."""
        said: list[Said] = []
        for group in self._groups.values():
            slots = range(len(group.writers))
            outcomes = run_bisecting(slots, functools.partial(self._step_slots, group))
            said += self._take(group, 0, outcomes)
        self._drop_empty()
        return said

    def weigh(self, answers: AnswersToWeigh) -> NDArray[np.float64] | InferenceError:
        """How likely each answer would be written: natural logarithms, (answers,); or why that cannot be said."""
        states = DecoderStates(self._shape, answers.rows)
        states.join(answers.looked_at, 1)
        feeds = states.answer_feeds(answers.answer_ids[:, :-1])
        (outcome,) = run_bisecting([0], lambda _: self._run(feeds))
        if isinstance(outcome, InferenceError):
            return outcome
        try:
            return rank_answers(outcome["logits"], answers.answer_ids[:, 1:], answers.lengths - 1, answers.smoothing)
        except InferenceError as error:
            return error

    def leave(self, texts: Sequence[TextToWrite]) -> None:
        """Forget texts that nobody waits for any more; those that have left already are no matter."""
        unwanted = set(texts)  # compared by identity
        for group in self._groups.values():
            for slot in reversed(range(len(group.writers))):
                if group.writers[slot].text in unwanted:
                    group.remove(slot)
        self._drop_empty()

    def clear(self) -> None:
        """Forget all."""
        self._groups.clear()

    def _begin_slots(self, group: _Group, slots: Sequence[int]) -> Mapping[str, NDArray[Any]]:
        beginnings = [group.writers[slot].text.beginning for slot in slots]
        input_ids = np.zeros((len(slots), max(map(len, beginnings))), np.int32)
        for row, ids in zip(input_ids, beginnings, strict=True):
            row[: len(ids)] = ids
        return self._run(group.states.beginning_feeds(_span(slots), input_ids))

    def _step_slots(self, group: _Group, slots: Sequence[int]) -> Mapping[str, NDArray[Any]]:
        tokens = np.stack([_next(group.writers[slot]).tokens for slot in slots])
        return self._run(group.states.step_feeds(_span(slots), tokens))

    def _take(self, group: _Group, first: int, outcomes: Sequence[RowOutputs | InferenceError]) -> list[Said]:
        """Hand each writer its outcome; slots from `first` on. Those who are done, or failed, leave."""
        said = [self._advance(group, first + index, outcome) for index, outcome in enumerate(outcomes)]
        for index in reversed(range(len(said))):
            if said[index].has_left:
                group.remove(first + index)
        return said

    def _advance(self, group: _Group, slot: int, outcome: RowOutputs | InferenceError) -> Said:
        writer = group.writers[slot]
        if isinstance(outcome, InferenceError):
            return Said(writer.text, fault=outcome)
        begins, tokens = writer.next is None, len(writer.text.beginning)
        try:
            if begins:
                step = writer.generation.start(outcome["logits"][0, tokens - 1])
            else:
                step = writer.generation.advance(outcome["logits"][:, 0])
        except InferenceError as error:
            return Said(writer.text, fault=error)
        if step.done:
            return Said(writer.text, step.said, writer.generation.texts())
        if begins:
            group.states.keep_beginning(slot, outcome, tokens)
        else:
            group.states.keep_step(slot, outcome, step.parents.tolist())
        writer.next = step
        return Said(writer.text, step.said)

    def _drop_empty(self) -> None:
        """Free the memory of groups that nobody is in."""
        self._groups = {rows: group for rows, group in self._groups.items() if group.writers}


def _of_like_lengths(texts: Sequence[TextToWrite]) -> Iterator[list[TextToWrite]]:
    """Texts in rising order of their beginnings, in parts whose padded beginnings are within `READ_TOKENS`.

    The decoder gives words for every position that it reads: 1024 of them are 125 MB for BERT's vocabulary.
    """
    part: list[TextToWrite] = []
    for text in texts:
        if part and (len(part) + 1) * len(text.beginning) > READ_TOKENS:
            yield part
            part = []
        part.append(text)
    if part:
        yield part


def _span(slots: Sequence[int]) -> slice:
    return slice(slots[0], slots[-1] + 1)


def _next(writer: _Writer) -> NextStep:
    if writer.next is None:
        raise InternalError(detail="a text that has not begun is asked for its next token")
    return writer.next
