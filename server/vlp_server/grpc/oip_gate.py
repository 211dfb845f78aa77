"""Lets calls of the Open Inference Protocol in, by the keys, limits and room of all other calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from vlp_spec.errors import InternalError, VlpError
from vlp_spec.tasks import Task

from vlp_server.access.prices import Weight
from vlp_server.grpc.call import Call, CallRecord
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.statuses import fault_of
from vlp_server.intake.access_log import MAX_WORDS
from vlp_server.oip.gate import FreePass, Passed
from vlp_server.oip.grpc_messages import SERVICE
from vlp_server.oip.grpc_service import OPEN_METHODS
from vlp_server.oip.records import InferReply


@dataclass(frozen=True, slots=True)
class PassedCall:
    """See vlp_server.oip.gate.Passed."""

    call: Call

    def take(self, size_bytes: int, /) -> None:
        """Count bytes that it holds."""
        self.call.take(size_bytes)

    def charge(self, weight: Weight, task: Task | None) -> None:
        """Let its caller pay; of a stream the words of its first requests are kept, and the task of the last one."""
        record = self.call.record
        words = (*record.words, *weight.words)[:MAX_WORDS]
        record.done = None if task is None else str(task)
        try:
            self.call.charge(weight)
        finally:
            record.words = words

    def note(self, *, received: int = 0, sent: int = 0, reply: InferReply | None = None) -> None:
        """Keep what log and metadata say."""
        self.call.record.bytes_in += received
        self.call.record.bytes_out += sent
        if reply is not None:
            self.call.noted(reply)

    @contextmanager
    def part(self) -> Iterator[PassedCall]:
        """A part of it."""
        with self.call.part() as part:
            yield PassedCall(part)


class OipGate:
    """See vlp_server.oip.gate.Gate.

    Args:
        door: whose keys, limits and room are asked.
    """

    def __init__(self, door: GrpcDoor) -> None:
        self._door = door
        self.message_timeout_s: float | None = door.config.http.body_timeout_s

    @property
    def closing(self) -> bool:
        """Whether the server is stopping."""
        return self._door.room.closing

    @contextmanager
    def let_in(self, name: str, context: Any) -> Iterator[Passed]:
        """Let a call in, and count and log its end; health is asked by those who have no key.

        Raises:
            VlpError: as GrpcDoor.let_in.
        """
        if name in OPEN_METHODS:
            yield FreePass()
            return
        record = CallRecord.begin(f"/{SERVICE}/{name}", context)
        status = grpc.StatusCode.CANCELLED
        try:
            with self._door.let_in(record, context) as call:
                yield PassedCall(call)
            status = grpc.StatusCode.OK
        except Exception as error:
            fault = fault_of(error if isinstance(error, VlpError) else InternalError(detail=repr(error)))
            record.kind, status = fault.kind, fault.status
            raise
        finally:
            context.set_trailing_metadata(record.metadata())
            self._door.observe(record, status)
