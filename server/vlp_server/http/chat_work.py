"""What answers a chat: a question goes to a model that answers questions, anything else to one that writes captions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlp_spec.errors import InternalError, InvalidArgumentError, TaskNotSupportedError
from vlp_spec.tasks import MAX_TOKENS, CaptionQuery, ScoredAnswer, ScoredCaption, Task, VqaQuery

from vlp_server.access.prices import queries_weight
from vlp_server.core.records import CaptionPiece, CaptionReply
from vlp_server.core.text_meter import TextMeter
from vlp_server.http.call import Call
from vlp_server.http.chat_ask import ChatAsk
from vlp_server.http.chat_documents import Choice, Completion
from vlp_server.http.door import Door
from vlp_server.http.stop_texts import StopTexts

if TYPE_CHECKING:
    from vlp_server.core.service import Service


@dataclass(frozen=True, slots=True)
class ChatWork:
    """One chat while it is answered.

    Attributes:
        task: that answers it.
        meter: of the model that does.
    """

    door: Door
    call: Call
    ask: ChatAsk
    task: Task
    meter: TextMeter

    @classmethod
    def of(cls, door: Door, call: Call, ask: ChatAsk) -> ChatWork:
        """Choose the task and its model, and let the caller pay.

        Raises:
            ModelNotFoundError, UnavailableError: there is none, or not now.
            TaskNotSupportedError: it does another task.
            TooLargeError: the text is longer than the limit.
            RateLimitedError: the caller asks more than its limits allow.
        """
        service = door.service
        task = _task_of(service, ask)
        meter = service.meter(ask.model, task)
        if task not in meter.tasks:
            raise _not_able(service, meter, task)
        work = cls(door, call, ask, task, meter)
        with ask.turn.placed_faults():
            call.charge(queries_weight([work._priced()]))
        return work

    async def complete(self) -> Completion:
        """The whole answer; errors as of its task, with places of the body for fields."""
        with self.ask.turn.placed_faults():
            picture = await self.call.picture(self.ask.turn.picture)
            if self.task is Task.VQA:
                return await self._answered(picture)
            query, prompt_tokens = await asyncio.to_thread(self._caption_query)
            reply = await self.door.service.caption(picture, query, model=self.ask.model, deadline=self.call.deadline)
        self.call.note(reply)
        captions = reply.results[0].captions
        return Completion(reply.model, [self._written(query, one) for one in captions], prompt_tokens)

    async def pieces(self) -> AsyncGenerator[tuple[int, str] | Completion, None]:
        """Which answer goes on with which words, and last all of them; errors as `complete`."""
        if self.task is Task.VQA or self.ask.answers > 1:
            completion = await self.complete()
            for index, choice in enumerate(completion.choices):
                yield index, choice.text
            yield completion
            return
        with self.ask.turn.placed_faults():
            picture = await self.call.picture(self.ask.turn.picture)
            query, prompt_tokens = await asyncio.to_thread(self._caption_query)
            cut = StopTexts(self.ask.stops, len(query.prompt))
            reply: CaptionReply | None = None
            stream = self.door.service.stream_caption(picture, query, model=self.ask.model, deadline=self.call.deadline)
            async with aclosing(stream) as items:
                async for item in items:
                    if not isinstance(item, CaptionPiece):
                        reply = item  # not the end yet: closed here, it would be counted as one that was left
                    elif shown := cut.add(item.text):
                        yield 0, shown
        if reply is None:
            raise InternalError(detail="a stream of words ended without its answer")
        if held := cut.rest():
            yield 0, held
        self.call.note(reply)
        yield Completion(reply.model, [self._written(query, reply.results[0].captions[0])], prompt_tokens)

    async def _answered(self, picture: bytes) -> Completion:
        ask = self.ask
        query = ask.question(self.door.config.limits.question_chars)
        reply = await self.door.service.vqa(picture, [query], model=ask.model, deadline=self.call.deadline)
        self.call.note(reply)
        answers = reply.results[0].answers
        if len(answers) < ask.answers:
            raise InvalidArgumentError(f"n: got {ask.answers}, the model gives {len(answers)} to this", field="n")
        prompt_tokens = await asyncio.to_thread(self.meter.question_tokens, query.question)
        return Completion(reply.model, [self._chosen(one) for one in answers], prompt_tokens)

    def _priced(self) -> VqaQuery | CaptionQuery:
        """What is asked, as far as it is known before the model's tokenizer counts."""
        limits = self.door.config.limits
        if self.task is Task.VQA:
            return self.ask.question(limits.question_chars)
        return self.ask.caption(limits.text_chars, MAX_TOKENS)

    def _caption_query(self) -> tuple[CaptionQuery, int]:
        prompt_tokens = self.meter.prompt_tokens(self.ask.turn.text)
        room = self.meter.room(prompt_tokens)
        return self.ask.caption(self.door.config.limits.text_chars, room), prompt_tokens

    def _chosen(self, scored: ScoredAnswer) -> Choice:
        """An answer, which has as many tokens as it has; over the limit it is cut."""
        text = StopTexts(self.ask.stops).whole(scored.answer)
        ends = self.meter.token_ends(text)
        most = self.ask.max_tokens
        if most is not None and len(ends) > most:
            return Choice(text[: ends[most - 1]], most, ended=False)
        return Choice(text, len(ends), ended=scored.ended or text != scored.answer)

    def _written(self, query: CaptionQuery, scored: ScoredCaption) -> Choice:
        text = StopTexts(self.ask.stops, len(query.prompt)).whole(scored.text)
        if text == scored.text:
            return Choice(text, scored.tokens, scored.ended)
        return Choice(text, len(self.meter.token_ends(text[len(query.prompt) :])), ended=True)


def _task_of(service: Service, ask: ChatAsk) -> Task:
    """The task that a chat is for the model that it names, or for those that there are."""
    if not ask.turn.text:
        return Task.CAPTION
    if ask.model is not None:
        able: set[Task] = set(service.meter(ask.model).tasks)
    else:
        able = {task for card in service.models() for task in card.tasks if task in card.default_for}
    return Task.CAPTION if Task.CAPTION in able and Task.VQA not in able else Task.VQA


def _not_able(service: Service, meter: TextMeter, task: Task) -> TaskNotSupportedError:
    """The fault of a model that does another task, with those that do this one."""
    does = ", ".join(meter.tasks)
    silent = "; the message asks nothing" if Task.VQA in meter.tasks else ""
    able = [card.name for card in service.models() if task in card.tasks]
    others = f"; models for {task}: {', '.join(able)}" if able else ""
    return TaskNotSupportedError(f"model {meter.model!r} does {does} and no {task}{silent}{others}")
