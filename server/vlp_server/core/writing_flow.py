"""The life of texts that a model writes about pictures: cache, the picture's states, and the decoder's rounds."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generation import DecodingPlan
from vlp_pipeline.generative import CaptionPipeline, LookedAt, WrittenAnswerPipeline
from vlp_spec.errors import InternalError
from vlp_spec.tasks import CaptionQuery, CaptionResult, VqaQuery, VqaResult

from vlp_server.core.answer_cache import AnswerCache, filled
from vlp_server.core.content_digest import timed_digests
from vlp_server.core.decoder_loop import DecoderLoop, Written
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import CaptionPiece, Timings, in_turn, longest
from vlp_server.core.running_texts import AnswersToWeigh, TextToWrite
from vlp_server.core.shared_work import Key, SharedWork, Worked
from vlp_server.core.states_flow import StatesFlow
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

_WORDS = re.compile(r"\s*\S+")
RANKED_ANSWERS = 128
"""Answers of a closed list that are weighed as a whole at most; k_test of the published configuration."""
T = TypeVar("T")
_Candidates = tuple[NDArray[np.int32], NDArray[np.int32]]
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class _Digested:
    """A picture, its digest, and how long that took."""

    picture: bytes
    digest: str
    timings: Timings


@dataclass(frozen=True, slots=True)
class _Begun:
    """A caption's query, how it begins, and how it goes on."""

    query: CaptionQuery
    beginning: NDArray[np.int32]
    plan: DecodingPlan

    @classmethod
    def of(cls, pipeline: CaptionPipeline, query: CaptionQuery) -> _Begun:
        """Refuses what cannot be written, before the picture is looked at."""
        beginning = pipeline.begin(query)
        return cls(query, beginning, pipeline.plan(query, len(beginning)))

    @property
    def is_repeatable(self) -> bool:
        """Whether the same query gives the same text again."""
        return self.query.decoding.is_repeatable


class _Pieces:
    """Cuts a growing text into pieces to send. The last token is held back: the next one may belong to its word."""

    def __init__(self, pipeline: CaptionPipeline, query: CaptionQuery) -> None:
        self._pipeline = pipeline
        self._query = query
        self._tokens: list[int] = []
        self._sent = ""

    def add(self, tokens: Sequence[int]) -> str:
        """What can be sent after further tokens; empty where that is nothing yet."""
        self._tokens += tokens
        return self.rest(self._pipeline.text_of(self._query, self._tokens[:-1]))

    def rest(self, text: str) -> str:
        """What of a text has not been sent; empty where it does not go on from what was."""
        if not text.startswith(self._sent):
            return ""
        piece = text[len(self._sent) :]
        self._sent = text
        return piece


class WritingFlow:
    """Captions pictures and answers questions in words, with models that write.

    Answers are shared by content as those of other flows, unless they are drawn by chance without a seed: those
    are another text each time.

    Args:
        answers: shared with other flows.
        states: what models see in pictures.
    """

    def __init__(
        self,
        answers: AnswerCache,
        states: StatesFlow,
        pool: PreprocessPool,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._states = states
        self._pool = pool
        self._clock = clock
        self._readings: SharedWork[list[LookedAt]] = SharedWork(
            "reading", 0, 0, lambda _, __: 0, metrics=metrics, clock=clock
        )

    async def caption(
        self, model: UsableModel, pipeline: CaptionPipeline, picture: bytes, query: CaptionQuery, urgency: Urgency
    ) -> tuple[CaptionResult, Timings]:
        """Caption a picture.

        Raises:
            VlpError: any RequestError, CapacityError, InferenceError or InternalError of vlp_spec.errors.
        """
        begun = await self._in_thread(lambda: _Begun.of(pipeline, query), urgency)
        asked = await self._digested(picture, urgency)

        async def write() -> Worked[CaptionResult]:
            async with aclosing(self._written(model, pipeline, asked, begun, urgency)) as news:
                async for one in news:
                    if isinstance(one, Worked):
                        return one
            raise _endless()

        if not begun.is_repeatable:
            worked = await write()
            return worked.value, in_turn(asked.timings, worked.timings)
        key = self._key(asked, model, query)
        kept = self._answers.look_up(key)
        if kept is not None:
            return kept, replace(asked.timings, cached=1)
        worked = await self._answers.work_out(key, write, urgency)
        return worked.value, in_turn(asked.timings, worked.timings)

    async def stream_caption(
        self, model: UsableModel, pipeline: CaptionPipeline, picture: bytes, query: CaptionQuery, urgency: Urgency
    ) -> AsyncGenerator[CaptionPiece | tuple[CaptionResult, Timings]]:
        """The same, word by word; the whole comes last. Closing it early stops the writing; errors as `caption`."""
        begun = await self._in_thread(lambda: _Begun.of(pipeline, query), urgency)
        asked = await self._digested(picture, urgency)
        key, since = self._key(asked, model, query), self._answers.epoch
        kept = self._answers.look_up(key) if begun.is_repeatable else None
        if kept is not None:
            for word in _WORDS.findall(kept.captions[0].text):
                yield CaptionPiece(word)
            yield kept, replace(asked.timings, cached=1)
            return
        pieces = _Pieces(pipeline, query)
        async with aclosing(self._written(model, pipeline, asked, begun, urgency)) as news:
            async for one in news:
                piece = pieces.add(one) if isinstance(one, tuple) else pieces.rest(one.value.captions[0].text)
                if piece:
                    yield CaptionPiece(piece)
                if isinstance(one, Worked):
                    if begun.is_repeatable:
                        self._answers.keep(key, one.value, since)
                    yield one.value, in_turn(asked.timings, one.timings)

    async def answer(
        self,
        model: UsableModel,
        pipeline: WrittenAnswerPipeline,
        picture: bytes,
        queries: Sequence[VqaQuery],
        urgency: Urgency,
    ) -> tuple[list[VqaResult], Timings]:
        """Answer questions about one picture: they are read together, and each answer is written by itself.

        Raises:
            VlpError: the first error of any question.
        """
        lists = await self._in_thread(lambda: _read(pipeline, queries), urgency)
        asked = await self._digested(picture, urgency)
        epoch = self._answers.epoch
        found: list[VqaResult | None] = [self._answers.look_up(self._key(asked, model, query)) for query in queries]
        missing = tuple(query for query, result in zip(queries, found, strict=True) if result is None)
        timings = replace(asked.timings, cached=len(queries) - len(missing))
        if not missing:
            return filled(found, ()), timings
        async with model.room:
            # Those who ask the same at the same time share the reading.
            read = await self._readings.work_out(
                self._key(asked, model, missing), lambda: self._look(model, pipeline, asked, missing, urgency), urgency
            )

            async def shared(pair: tuple[VqaQuery, LookedAt]) -> Worked[VqaResult]:
                query, seen = pair
                return await self._answers.work_out(
                    self._key(asked, model, query),
                    lambda: self._answer(model, pipeline, (query, lists.get(pipeline.names(query))), seen, urgency),
                    urgency,
                    since=epoch,
                )

            answers = await all_or_first_error(list(zip(missing, read.value, strict=True)), shared)
        answering = longest([one.timings for one in answers])
        return filled(found, (one.value for one in answers)), in_turn(timings, read.timings, answering)

    async def _look(
        self,
        model: UsableModel,
        pipeline: WrittenAnswerPipeline,
        asked: _Digested,
        queries: Sequence[VqaQuery],
        urgency: Urgency,
    ) -> Worked[list[LookedAt]]:
        """What the decoder looks at for each question."""
        cross = await self._states.cross(model, pipeline, asked.picture, asked.digest, urgency)
        ran = await self._pool.run(
            lambda: pipeline.question_item(cross.value, queries), lane=urgency.lane, deadline=urgency.deadline
        )
        read = await model.compute(ran.value, urgency)
        looked_at = await self._in_thread(lambda: pipeline.looked_at(read.outputs, queries), urgency)
        return Worked(looked_at, in_turn(cross.timings, ran.timings, read.timings(postprocess_s=0.0)))

    async def _answer(
        self,
        model: UsableModel,
        pipeline: WrittenAnswerPipeline,
        asked: tuple[VqaQuery, _Candidates | None],
        looked_at: LookedAt,
        urgency: Urgency,
    ) -> Worked[VqaResult]:
        decoder, (query, candidates) = _decoder(model), asked
        started = self._clock()
        if candidates is not None:
            weighed = await _weigh(decoder, AnswersToWeigh(looked_at, *candidates, pipeline.rank_smoothing), urgency)
            result = pipeline.ranked(query, weighed)
            return Worked(result, Timings(infer_ms=(self._clock() - started) * _MS, batch_items=1))
        text = TextToWrite(looked_at, pipeline.begin(query), pipeline.plan(query))
        async with aclosing(decoder.write(text, urgency)) as news:
            async for one in news:
                if isinstance(one, Written):
                    return Worked(pipeline.written(query, one.texts), one.timings)
        raise _endless()

    async def _written(
        self,
        model: UsableModel,
        pipeline: CaptionPipeline,
        asked: _Digested,
        begun: _Begun,
        urgency: Urgency,
    ) -> AsyncGenerator[tuple[int, ...] | Worked[CaptionResult]]:
        """Tokens of a caption as they are settled, and at last its result."""
        async with model.room:
            cross = await self._states.cross(model, pipeline, asked.picture, asked.digest, urgency)
            text = TextToWrite(pipeline.looked_at(cross.value), begun.beginning, begun.plan)
            async with aclosing(_decoder(model).write(text, urgency)) as news:
                async for one in news:
                    if isinstance(one, Written):
                        result = pipeline.result(begun.query, one.texts)
                        yield Worked(result, in_turn(cross.timings, one.timings))
                    else:
                        yield one

    async def _in_thread(self, call: Callable[[], T], urgency: Urgency) -> T:
        """Texts are read in a thread: they may be long, and many."""
        ran = await self._pool.run(call, lane=urgency.lane, deadline=urgency.deadline)
        return ran.value

    async def _digested(self, picture: bytes, urgency: Urgency) -> _Digested:
        (digest,), timings = await timed_digests([picture], self._pool, urgency, self._clock)
        return _Digested(picture, digest, timings)

    def _key(self, asked: _Digested, model: UsableModel, query: object) -> Key:
        return self._answers.key([asked.digest], model.loaded.digest, query)


def _read(pipeline: WrittenAnswerPipeline, queries: Sequence[VqaQuery]) -> dict[tuple[str, ...] | None, _Candidates]:
    """Refuse what cannot be answered; and every closed list as the decoder reads it, each once."""
    for query in queries:
        pipeline.check(query)
    lists = {names: query for query in queries if (names := pipeline.names(query)) is not None}
    return {names: pipeline.candidate_ids(query) for names, query in lists.items()}


async def _weigh(decoder: DecoderLoop, answers: AnswersToWeigh, urgency: Urgency) -> NDArray[np.float64]:
    """Log-probabilities of answers; of a long list only those are weighed whose first token is likeliest.

    Source: salesforce/BLIP, models/blip_vqa.py, rank_answer.
    """
    if answers.rows <= RANKED_ANSWERS:
        return await decoder.log_probabilities(answers, urgency)
    beginnings, which = np.unique(answers.answer_ids[:, :2], axis=0, return_inverse=True)
    first = replace(answers, answer_ids=beginnings, lengths=np.full(len(beginnings), 2, np.int32), smoothing=0.0)
    likely = (await decoder.log_probabilities(first, urgency))[which.reshape(-1)]
    best = np.argsort(-likely, kind="stable")[:RANKED_ANSWERS]
    chosen = replace(answers, answer_ids=answers.answer_ids[best], lengths=answers.lengths[best])
    weighed = np.full(answers.rows, -np.inf)
    weighed[best] = await decoder.log_probabilities(chosen, urgency)
    return weighed


def _endless() -> InternalError:
    return InternalError(detail="a text ended without its end")


def _decoder(model: UsableModel) -> DecoderLoop:
    if model.decoder is None:
        raise InternalError(detail=f"{model.loaded.label} has no decoder")
    return model.decoder
