from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from vlp_client.progress import TextBar, open_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_written_anew_and_not_for_every_item() -> None:
    now = 0.0
    stream = Terminal()
    bar = TextBar(40, "embed", stream, clock=lambda: now)
    for step in range(1, 21):
        now = step * 0.0625
        bar.update(1)
    assert stream.getvalue().startswith("\rembed: 2/40 (5%), 16.0/s, 0:02 left\rembed: 4/40")
    assert stream.getvalue().count("\r") == 10
    bar.update(20)
    bar.close()
    assert stream.getvalue().endswith("\rembed: 40/40 (100%), 32.0/s\n")


def test_a_file_gets_the_end_alone() -> None:
    stream = io.StringIO()
    bar = TextBar(None, "index", stream, clock=lambda: 0.0)
    bar.update(3)
    bar.close()
    assert stream.getvalue().startswith("index: 3, ")
    assert stream.getvalue().count("\n") == 1


def test_a_function_is_told_of_every_step_and_nothing_is_shown_without_a_wish(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps: list[int] = []
    told = open_progress(steps.append, 2, "embed")
    told.update(1)
    told.update(2)
    told.close()
    open_progress(False, 2, "embed").close()
    assert steps == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_tqdm_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            made.append(options)

    module: Any = type(sys)("tqdm.auto")
    module.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm", type(sys)("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    assert isinstance(open_progress(True, 7, "embed"), Bar)
    assert made == [{"total": 7, "desc": "embed", "unit": "item"}]
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert isinstance(open_progress(True, 7, "embed"), TextBar)
