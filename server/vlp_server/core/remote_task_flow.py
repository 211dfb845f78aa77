"""The life of tasks of models that hold more of a picture than should travel: they are done where the model lies.

The picture goes there as it was sent, with the queries; what comes back is kept and shared as other answers are.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from vlp_spec.errors import InternalError
from vlp_spec.tasks import (
    CaptionQuery,
    CaptionResult,
    EntailmentQuery,
    GroundingQuery,
    MatchQuery,
    ReasoningQuery,
    Task,
    VqaQuery,
)

from vlp_server.core.answer_cache import AnswerCache, filled
from vlp_server.core.content_digest import timed_digests
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.joint_call import JointCall
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import CaptionPiece, Timings, in_turn, longest
from vlp_server.core.shared_work import Worked
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel
from vlp_server.engines.base import CallTerms, TaskCall, TaskServer
from vlp_server.engines.task_wire import STREAM_OPTION, options_of, parse_result

_MS = 1000.0
_MOST_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """Pictures with their digests, and how long those took."""

    pictures: tuple[bytes, ...]
    digests: tuple[str, ...]
    timings: Timings


class RemoteTaskFlow:
    """Asks whole tasks. Arguments and errors of its methods as of AnswerFlows.

    Args:
        answers: shared with other flows.
    """

    def __init__(self, answers: AnswerCache, pool: PreprocessPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._answers = answers
        self._pool = pool
        self._clock = clock

    async def answer(
        self, task: Task, model: UsableModel, pictures: Sequence[bytes], queries: Sequence[Any], urgency: Urgency
    ) -> tuple[list[Any], Timings]:
        """Answer queries about pictures; those that differ in their texts alone go in one call with the pictures."""
        asked = await self._digested(pictures, urgency)
        epoch, digest = self._answers.epoch, model.loaded.digest
        keys = [self._answers.key(asked.digests, digest, query) for query in queries]
        found = [self._answers.look_up(key) for key in keys]
        missing = [pair for pair, kept in zip(zip(keys, queries, strict=True), found, strict=True) if kept is None]

        joint: dict[str, JointCall[Any, Worked[Any]]] = {}

        async def send(together: Sequence[Any]) -> list[Worked[Any]]:
            return await self._worked(model, _call(task, model, asked.pictures, together), urgency)

        async def shared(pair: tuple[Any, Any]) -> Worked[Any]:
            key, query = pair
            call = joint.setdefault(repr(options_of([query])), JointCall(send, _MOST_TOGETHER))
            return await self._answers.work_out(key, lambda: call.ask(query), urgency, since=epoch)

        answers = await all_or_first_error(missing, shared)
        timings = replace(asked.timings, cached=len(queries) - len(missing))
        spent = longest([one.timings for one in answers])
        return filled(found, (one.value for one in answers)), in_turn(timings, spent)

    async def caption(
        self, model: UsableModel, picture: bytes, query: CaptionQuery, urgency: Urgency
    ) -> tuple[CaptionResult, Timings]:
        """Caption a picture."""
        if query.decoding.is_repeatable:
            (result,), timings = await self.answer(Task.CAPTION, model, [picture], [query], urgency)
            return result, timings
        (worked,) = await self._worked(model, _call(Task.CAPTION, model, (picture,), [query]), urgency)
        return worked.value, worked.timings

    async def stream_caption(
        self, model: UsableModel, picture: bytes, query: CaptionQuery, urgency: Urgency
    ) -> AsyncGenerator[CaptionPiece | tuple[CaptionResult, Timings]]:
        """The same, as it is written there. Closing it early stops the writing."""
        asked = await self._digested([picture], urgency)
        key, since = self._answers.key(asked.digests, model.loaded.digest, query), self._answers.epoch
        kept = self._answers.look_up(key) if query.decoding.is_repeatable else None
        if kept is not None:
            yield CaptionPiece(kept.captions[0].text)
            yield kept, replace(asked.timings, cached=1)
            return
        started = self._clock()
        call = _call(Task.CAPTION, model, (picture,), [query])
        call = replace(call, options={**call.options, STREAM_OPTION: True})
        async with aclosing(_server(model).stream(call, self._terms(urgency))) as news:
            async for one in news:
                if isinstance(one, str):
                    yield CaptionPiece(one)
                    continue
                result = parse_result(Task.CAPTION, one)
                if query.decoding.is_repeatable:
                    self._answers.keep(key, result, since)
                yield result, in_turn(asked.timings, self._spent_since(started))

    async def _worked(self, model: UsableModel, call: TaskCall, urgency: Urgency) -> list[Worked[Any]]:
        """Do a task; a result for each of its texts."""
        started = self._clock()
        results = await _server(model).ask(call, self._terms(urgency))
        if len(results) != len(call.texts):
            raise InternalError(detail=f"{len(results)} results of {call.task} for {len(call.texts)} queries")
        spent = replace(self._spent_since(started), batch_items=len(results))
        return [Worked(parse_result(call.task, result), spent) for result in results]

    def _spent_since(self, started: float) -> Timings:
        return Timings(infer_ms=(self._clock() - started) * _MS, batch_items=1)

    def _terms(self, urgency: Urgency) -> CallTerms:
        return CallTerms(timeout_s=max(0.001, urgency.deadline - self._clock()), lane=urgency.lane)

    async def _digested(self, pictures: Sequence[bytes], urgency: Urgency) -> _Asked:
        digests, timings = await timed_digests(pictures, self._pool, urgency, self._clock)
        return _Asked(tuple(pictures), tuple(digests), timings)


def _server(model: UsableModel) -> TaskServer:
    server = model.loaded.tasks_there
    if server is None:
        raise InternalError(detail=f"{model.loaded.label}: its engine does no whole tasks")
    return server


def _call(task: Task, model: UsableModel, pictures: tuple[bytes, ...], queries: Sequence[Any]) -> TaskCall:
    """Of queries with equal options."""
    deployment, texts = model.loaded.deployment, [_text(query) for query in queries]
    return TaskCall(task, deployment.name, deployment.version, pictures, texts, options_of(list(queries)))


def _text(query: Any) -> str:
    match query:
        case VqaQuery(question=text) | MatchQuery(text=text) | EntailmentQuery(hypothesis=text):
            return text
        case ReasoningQuery(statement=text) | GroundingQuery(phrase=text) | CaptionQuery(prompt=text):
            return text
    raise InternalError(detail=f"no text in {type(query).__name__}")
