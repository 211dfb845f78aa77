"""Connections are bounded, and methods that are not there are counted as all others."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_rig import open_grpc, trailing
from prometheus_client import generate_latest
from vlp_server.config import LogConfig, ServerConfig
from vlp_server.intake.access_log import ACCESS_LOGGER

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def is_answered(port: int) -> tuple[bool, asyncio.StreamWriter]:
    """Whether a connection gets a frame of HTTP/2, or only its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HELLO)
    try:
        return bool(await asyncio.wait_for(reader.read(9), 20)), writer
    except ConnectionError:
        return False, writer


async def test_more_connections_than_there_may_be_are_closed(scripted: Any) -> None:
    config = ServerConfig()
    config = replace(config, grpc=replace(config.grpc, max_connections=2))
    async with open_grpc(scripted, config) as rig:
        opened = [await is_answered(rig.server.port) for _ in range(4)]
        assert [answered for answered, _ in opened] == [True, True, False, False]
        for _, writer in opened:
            writer.close()


async def test_a_connection_without_calls_ends(scripted: Any) -> None:
    config = ServerConfig()
    config = replace(config, grpc=replace(config.grpc, idle_timeout_s=1.0))
    async with open_grpc(scripted, config) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.server.port)
        writer.write(HELLO)
        # It says that it goes away (frame 7) before it does.
        assert b"\x07" in await asyncio.wait_for(reader.read(), 30)
        writer.close()


@pytest.mark.parametrize("method", ["/vlp.v1.VisionLanguage/Guess", "/no.such/Method", "nonsense"])
async def test_a_method_that_is_not_there_is_counted_and_logged_without_its_name(
    scripted: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=ACCESS_LOGGER)
    async with open_grpc(scripted, ServerConfig(log=LogConfig(access=True))) as rig:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rig.channel.unary_unary(method)(b"", metadata=(("x-request-id", "mine"),))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert trailing(caught.value)["x-request-id"] == "mine"
    figures = generate_latest(scripted.metrics).decode()
    assert 'vlpserve_grpc_calls_total{kind="",method="other",status="UNIMPLEMENTED"} 1.0' in figures
    assert "Guess" not in figures
    (line,) = [record.fields for record in caplog.records if record.name == ACCESS_LOGGER]
    assert (line["route"], line["status"]) == ("other", "UNIMPLEMENTED")
