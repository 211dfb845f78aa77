"""What the access log says of a request, and what no caller can make it say."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from vlp_server.config import LogConfig, ServerConfig
from vlp_server.http.app import create_app

PICTURE: dict[str, Any] = {"files": [("image", ("a", b"picture-bytes"))]}


def config_with(**log: Any) -> ServerConfig:
    return ServerConfig(log=LogConfig(access=True, **log))


def access_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.name == "vlpserve.access"]


async def line_of(door_with: Any, caplog: pytest.LogCaptureFixture, config: ServerConfig, **call: Any) -> Any:
    with caplog.at_level(logging.INFO):
        async with door_with(config) as client:
            response = await client.post("/v1/vqa", **PICTURE, data={"question": "who is she?"}, **call)
    (line,) = access_lines(caplog)
    return line, response


async def test_a_line_says_what_an_operator_asks(door_with: Any, caplog: pytest.LogCaptureFixture) -> None:
    line, response = await line_of(door_with, caplog, config_with(), headers={"X-Request-Id": "r-1"})
    assert line["bytes_in"] == int(response.request.headers["content-length"])
    assert line["bytes_out"] == len(response.content)
    assert line["duration_ms"] >= 0
    known = {name: line[name] for name in ("request_id", "method", "route", "status", "model", "task", "queue_ms")}
    assert known == {
        "request_id": "r-1",
        "method": "POST",
        "route": "/v1/vqa",
        "status": 200,
        "model": "scripted@1",
        "task": "vqa",
        "queue_ms": 1.0,
    }
    assert (line["infer_ms"], line["kind"], line["key"], line["client"]) == (2.5, None, None, "127.0.0.1")


async def test_words_are_left_out_unless_asked_for_and_are_cut(
    door_with: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line, _ = await line_of(door_with, caplog, config_with())
    assert "questions" not in line
    assert "she" not in json.dumps(line)
    caplog.clear()
    line, _ = await line_of(door_with, caplog, config_with(questions=True, question_chars=6))
    assert line["questions"] == ["who is"]
    assert "picture-bytes" not in json.dumps(line)


@pytest.mark.parametrize(("how", "shown"), [("hashed", True), ("omitted", False)])
async def test_the_client_may_be_hashed_or_left_out(
    how: str, shown: bool, door_with: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line, _ = await line_of(door_with, caplog, config_with(client=how))
    assert ("client" in line) is shown
    assert "127.0.0.1" not in json.dumps(line)


@pytest.mark.parametrize("path", ["/a%0A2026-01-01%20INFO%20status=200", "/a%1B[2J", "/v1/collections/secret/items/x"])
async def test_a_path_is_never_there_as_it_was_sent(
    path: str, door_with: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with door_with(config_with()) as client:
            response = await client.get(path + "?question=who")
    (line,) = access_lines(caplog)
    assert response.status_code in (404, 500)
    assert line["route"] in ("other", "/v1/collections/{name}/items/{item_id}")
    told = json.dumps(line)
    assert not any(secret in told for secret in ("who", "secret", "INFO", "\\u001b"))


@pytest.mark.parametrize("given", ["", "two words", "a\tb", "x" * 129, "ü", 'a"b'])
async def test_an_id_that_is_not_plain_is_replaced(
    given: str, door_with: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line, response = await line_of(
        door_with, caplog, config_with(), headers=[(b"x-request-id", given.encode("latin-1"))]
    )
    assert line["request_id"] == response.headers["x-request-id"] != given
    assert len(line["request_id"]) == 32


async def test_a_request_without_a_client_is_logged_too(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    scope = {"type": "http", "method": "GET", "path": "/a\nb", "query_string": b"", "headers": []}

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    with caplog.at_level(logging.INFO):
        await create_app(scripted, config_with())(scope, receive, send)
    (line,) = access_lines(caplog)
    assert (line["client"], line["status"], line["kind"]) == ("-", 404, "not_found")
