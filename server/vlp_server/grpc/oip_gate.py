"""Lets calls of the Open Inference Protocol in, by the keys, limits and room of all other calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from vlp_spec.errors import InternalError, VlpError

from vlp_server.grpc.call import CallRecord
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.statuses import fault_of
from vlp_server.oip.gate import FreePass, Passed
from vlp_server.oip.grpc_messages import SERVICE
from vlp_server.oip.grpc_service import OPEN_METHODS


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
                context.set_trailing_metadata(record.metadata())
                yield call
            status = grpc.StatusCode.OK
        except Exception as error:
            fault = fault_of(error if isinstance(error, VlpError) else InternalError(detail=repr(error)))
            record.kind, status = fault.kind, fault.status
            raise
        finally:
            self._door.observe(record, status)
