from __future__ import annotations

import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vlp_server.config.settings import LogConfig, LogLevel
from vlp_server.http.access_lines import AccessLines, WatchedFile
from vlp_server.http.logs import set_up_logs
from vlp_spec.errors import ConfigError


def record(**fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("vlpserve.access", logging.INFO, "file", 1, "request", (), None)
    made.__dict__["fields"] = fields
    return made


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_each_line_is_an_object_in_ascii(file: Path) -> None:
    lines = AccessLines(file)
    lines.emit(record(status=200, questions=["who\nis\u2028she \x1b[2J ü"]))
    lines.emit(record(status=404))
    lines.close()
    first, second = written(file)
    assert first["questions"] == ["who\nis\u2028she \x1b[2J ü"]
    assert (first["status"], second["status"]) == (200, 404)
    assert first["time"].endswith("+00:00")
    assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0


def test_a_file_that_was_moved_away_is_opened_anew(file: Path) -> None:
    watched = WatchedFile(file)
    watched.write("one\n")
    file.rename(file.with_name("access.log.1"))
    watched.write("two\n")
    file.unlink()
    watched.write("three\n")
    assert file.with_name("access.log.1").read_text() == "one\n"
    assert file.read_text() == "three\n"


def test_what_cannot_be_written_is_told_once_and_goes_on_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = AccessLines(folder / "access.log")
    (folder / "access.log").unlink()
    folder.rmdir()
    for number in range(3):
        lines._write_all([{"number": number}])
    assert [one.levelno for one in caplog.records] == [logging.ERROR]
    folder.mkdir()
    lines._write_all([{"number": 3}])
    lines.close()
    assert written(folder / "access.log") == [{"number": 3}]


def test_a_stuck_disk_holds_up_nobody_and_costs_lines(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    stuck, go_on = threading.Event(), threading.Event()
    lines = AccessLines(file, max_waiting=5)
    write = lines._write

    def wait_and_write(text: str) -> None:
        stuck.set()
        assert go_on.wait(20)
        write(text)

    lines._write = wait_and_write
    lines.emit(record(number=0))
    assert stuck.wait(20)
    for number in range(1, 101):
        lines.emit(record(number=number))
    go_on.set()
    lines.close()
    assert [line["number"] for line in written(file)] == [0, 1, 2, 3, 4, 5]
    assert "95 lines of the access log were dropped" in caplog.text


@pytest.fixture
def own_loggers() -> Iterator[logging.Logger]:
    root, access = logging.getLogger(), logging.getLogger("vlpserve.access")
    kept = root.handlers[:], root.level, access.handlers[:], access.level, access.propagate
    yield access
    for handler in access.handlers:
        handler.close()
    root.handlers[:], root.level, access.handlers[:], access.level, access.propagate = kept


@pytest.mark.parametrize("place", ["out", "err", "file"])
def test_the_log_goes_where_it_is_sent_whatever_the_level_of_the_other(
    place: str, file: Path, own_loggers: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    target = {"out": Path("-"), "err": None, "file": file}[place]
    set_up_logs(LogConfig(level=LogLevel.ERROR, access=True, access_file=target))
    own_loggers.info("request", extra={"fields": {"status": 200}})
    own_loggers.handlers[0].close()
    told = capsys.readouterr()
    texts = {"out": told.out, "err": told.err, "file": file.read_text() if place == "file" else ""}
    assert json.loads(texts.pop(place))["status"] == 200
    assert set(texts.values()) == {""}


def test_a_file_that_cannot_be_opened_ends_the_start(tmp_path: Path, own_loggers: logging.Logger) -> None:
    with pytest.raises(ConfigError, match=r"log\.access_file: cannot write"):
        set_up_logs(LogConfig(access=True, access_file=tmp_path))
    assert os.listdir(tmp_path) == []
