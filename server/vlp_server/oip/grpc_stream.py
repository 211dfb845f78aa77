"""A stream of requests, answered side by side, in their order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from vlp_spec.errors import DeadlineError, UnavailableError, VlpError

from vlp_server.engines.task_wire import fault_text
from vlp_server.oip.gate import Gate, Passed
from vlp_server.oip.grpc_faults import told
from vlp_server.oip.grpc_messages import message_class
from vlp_server.oip.grpc_records import FINAL, parse_infer_request, read_message, write_message
from vlp_server.oip.inference import OpenInference

logger = logging.getLogger(__name__)
# Requests of one stream under way at a time; the next is read when the first of them is answered.
_PARALLEL = 16
# Answers to one request that wait for those before them.
_AHEAD = 4
# A stream that waits for its client's next request looks so often whether the server is stopping.
_LOOK_S = 1.0
_Lane = asyncio.Queue[Any]


class OrderedAnswers:
    """Answers the requests of one stream: several at a time, each with one answer or many, told in the order of the
    requests. A request that fails is told so, and hurts no other.

    Args:
        deadline: of a request that begins now, time.monotonic() seconds.
        gate: says how long the client may be silent when it has all its answers, and whether the server is stopping.
        passed: the call that it is.
    """

    def __init__(
        self, inference: OpenInference, deadline: Callable[[], float | None], gate: Gate, passed: Passed
    ) -> None:
        self._gate = gate
        self._passed = passed
        self._inference = inference
        self._deadline = deadline
        self._lanes: asyncio.Queue[_Lane | None] = asyncio.Queue(_PARALLEL)

    async def of(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[Any]:
        """ModelStreamInferResponse messages; being closed ends all that is under way.

        Raises:
            DeadlineError: the client has all its answers, and asks nothing more for too long.
            UnavailableError: likewise, and the server is stopping.
        """
        tasks: set[asyncio.Task[None]] = set()
        reading = asyncio.create_task(self._read(requests, tasks))
        try:
            while (lane := await self._next_lane()) is not None:
                while (message := await lane.get()) is not None:
                    yield message
        finally:
            reading.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(reading, *tasks, return_exceptions=True)

    async def _next_lane(self) -> _Lane | None:
        """Of the next request; all before it are answered, so that nothing is under way where there is none."""
        limit_s = self._gate.message_timeout_s
        until = None if limit_s is None else time.monotonic() + limit_s
        while True:
            left_s = _LOOK_S if until is None else min(_LOOK_S, until - time.monotonic())
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    return await self._lanes.get()
            except TimeoutError:
                if self._gate.closing:
                    raise UnavailableError("the server is stopping; ask another one") from None
                if until is not None and time.monotonic() >= until:
                    raise DeadlineError(
                        f"no request within {limit_s:g} s; end the stream, and begin another later"
                    ) from None

    async def _read(self, requests: AsyncIterator[bytes], tasks: set[asyncio.Task[None]]) -> None:
        try:
            async for data in requests:
                lane: _Lane = asyncio.Queue(_AHEAD)
                await self._lanes.put(lane)
                task = asyncio.create_task(self._answer(data, lane))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except Exception:
            logger.info("a stream of requests broke off", exc_info=True)
        # Not where this was cancelled: nobody takes lanes any more, and there may be no room.
        await self._lanes.put(None)

    async def _answer(self, data: bytes, lane: _Lane) -> None:
        request: Any = None
        try:
            with self._passed.part() as part:
                request = await parse_infer_request(data, part)
                asked = await read_message(request, len(data))
                async with aclosing(self._inference.stream(asked, part.charge, self._deadline())) as replies:
                    async for reply in replies:
                        part.note(reply=reply)
                        response = await write_message(reply, streamed=True)
                        await lane.put(message_class("ModelStreamInferResponse")(infer_response=response))
        except VlpError as error:
            await lane.put(_fault(request, error))
        except Exception as error:
            logger.exception("a request of a stream failed")
            await lane.put(_fault(request, told(error)))
        await lane.put(None)


def _fault(request: Any, error: VlpError) -> Any:
    fault = told(error)
    message = message_class("ModelStreamInferResponse")(error_message=fault_text(fault))
    response = message.infer_response
    response.parameters[FINAL].bool_param = True
    if request is None:
        return message
    response.model_name, response.model_version, response.id = request.model_name, request.model_version, request.id
    return message
