"""A caller's path cannot write lines of the access log."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from vlp_server.config import LogConfig, ServerConfig
from vlp_server.http.app import create_app
from vlp_server.http.logs import TextFormatter

CONFIG = ServerConfig(log=LogConfig(access=True))


def access_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "vlpserve.access"]


@pytest.mark.parametrize("path", ["/a%0A2026-01-01%20INFO%20status=200", "/a%0d%0ab", "/a%1B[2J", "/a%E2%80%A8b"])
async def test_the_path_is_logged_as_it_was_sent(path: str, door_with: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with door_with(CONFIG) as client:
            response = await client.get(path + "?question=who")
    assert response.status_code == 404
    (line,) = access_lines(caplog)
    assert line.__dict__["fields"]["path"] == str(httpx.URL(path).raw_path, "ascii")
    text = TextFormatter().format(line)
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    assert "who" not in text


@pytest.mark.parametrize(
    ("raw_path", "expected"),
    [(None, "/a%0Ab"), (b"/a\nb\x1b", "/a%0Ab%1B"), (b"/a\xff?question=who", "/a\\xff"), (b"/a%0Ab", "/a%0Ab")],
)
async def test_whatever_the_server_in_front_gives_no_line_breaks(
    raw_path: bytes | None, expected: str, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scope = {"type": "http", "method": "GET", "path": "/a\nb", "query_string": b"", "headers": []}
    if raw_path is not None:
        scope["raw_path"] = raw_path

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    with caplog.at_level(logging.INFO):
        await create_app(scripted, CONFIG)(scope, receive, send)
    (line,) = access_lines(caplog)
    assert line.__dict__["fields"]["path"] == expected
