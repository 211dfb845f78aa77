"""Only so many messages may be slow; the one that has been so for longest makes room."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from vlp_server.grpc.reading import MessageReader
from vlp_spec.errors import CancelledError, DeadlineError, OverloadedError


class Sender:
    """A call whose message comes when it is told."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.message: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def read(self) -> Any:
        self.reading.set()
        return await self.message


def begin(reader: MessageReader, sender: Sender, timeout_s: float | None = None) -> asyncio.Task[bytes | None]:
    context: Any = sender
    return asyncio.create_task(reader.read(context, timeout_s))


async def test_the_slowest_is_given_up_for_one_more() -> None:
    reader = MessageReader(2, 0.0)
    senders = [Sender() for _ in range(3)]
    reads = []
    for sender in senders:
        reads.append(begin(reader, sender))
        await sender.reading.wait()
        await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="slow"):
        await asyncio.wait_for(reads[0], 10)
    for sender, read in zip(senders[1:], reads[1:], strict=True):
        sender.message.set_result(b"a")
        assert await read == b"a"


async def test_one_that_was_read_takes_no_place() -> None:
    reader = MessageReader(1, 0.0)
    for _ in range(3):
        sender = Sender()
        read = begin(reader, sender)
        await sender.reading.wait()
        await asyncio.sleep(0)
        sender.message.set_result(grpc.aio.EOF)
        assert await read is None


async def test_those_that_are_not_slow_yet_are_not_counted() -> None:
    reader = MessageReader(1, 60.0)
    senders = [Sender() for _ in range(5)]
    reads = [begin(reader, sender) for sender in senders]
    for sender in senders:
        await sender.reading.wait()
        sender.message.set_result(b"a")
    assert await asyncio.gather(*reads) == [b"a"] * 5


async def test_what_ends_a_read_is_told() -> None:
    reader = MessageReader(1, 0.0)
    with pytest.raises(DeadlineError, match=r"0\.01 s"):
        await begin(reader, Sender(), 0.01)
    sender = Sender()
    sender.message.set_exception(grpc.aio.UsageError("gone"))
    with pytest.raises(CancelledError):
        await begin(reader, sender)
