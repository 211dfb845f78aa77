"""The blocks of docs/openai.md, run as they stand against the shipped models."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess
from vlp_server.http.problems import STATUS
from vlp_spec.errors import ErrorKind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "openai.md").read_text(encoding="utf-8")
PROMISED = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def test_the_blocks_print_what_they_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"python"}
    code = "".join(text for _, text in blocks)
    said = io.StringIO()
    names: dict[str, Any] = {}
    with ServerProcess(tmp_path) as server, contextlib.redirect_stdout(said):
        exec(code.replace("http://127.0.0.1:8080", server.url), names)  # noqa: S102 - our own page
        names["client"].close()
    assert len(PROMISED.findall(code)) == code.count("print(")
    assert said.getvalue().splitlines() == PROMISED.findall(code)


def test_the_table_of_errors_is_that_of_the_door() -> None:
    rows = [row for row in PAGE.splitlines() if re.match(r"\| \d{3}", row)]
    own = {"rate_limit_exceeded": "overloaded", "invalid_api_key": "unauthenticated"}
    known = {str(kind): status for kind, status in STATUS.items()}
    told: dict[str, int] = {}
    for row in rows:
        statuses, *_, codes = (cell.strip() for cell in row.strip("|").split("|"))
        for code in re.findall(r"`(\w+)`", codes):
            kind = own.get(code, code)
            assert str(known[kind]) in statuses, row
            told[kind] = known[kind]
    assert ErrorKind.INVALID_IMAGE in told
    assert len(told) == 15
