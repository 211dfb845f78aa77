from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest
from vlp_server.config.settings import LogConfig, LogFormat, LogLevel
from vlp_server.http.logs import JsonFormatter, TextFormatter, set_up_logs


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, "file", 1, "%d done", (3,), None)
    made.__dict__.update(extra)
    return made


def test_text_has_the_fields_at_the_end() -> None:
    line = TextFormatter().format(record(fields={"status": 200, "kind": None}))
    assert line.endswith("WARNING a.b 3 done status=200")


def test_json_is_one_object_a_line() -> None:
    line = JsonFormatter().format(record(fields={"status": 200}))
    content = json.loads(line)
    assert (content["level"], content["logger"], content["message"], content["status"]) == (
        "warning",
        "a.b",
        "3 done",
        200,
    )
    assert "\n" not in line


def test_json_keeps_the_stack() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        made = record(exc_info=sys.exc_info())
    assert "ValueError: why" in json.loads(JsonFormatter().format(made))["exception"]


@pytest.fixture
def own_root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_set_up(own_root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    own_root.handlers.clear()
    set_up_logs(LogConfig(level=LogLevel.INFO, format=LogFormat.JSON))
    logging.getLogger("vlp").info("hello")
    logging.getLogger("vlp").debug("not this")
    logging.getLogger("httpx").info("nor this")
    told = capsys.readouterr()
    assert [json.loads(line)["message"] for line in told.err.splitlines()] == ["hello"]
    assert told.out == ""
