from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from vlp_cli import table
from vlp_cli.table import columns_of, format_table, print_table

HEAD = ("text", "score")


def test_columns_are_aligned_and_the_last_one_is_not_padded() -> None:
    assert format_table(HEAD, [("a red boat", "0.1"), ("b", "0.25")]).splitlines() == [
        "text        score",
        "a red boat  0.1",
        "b           0.25",
    ]


def test_wide_characters_and_marks_count_as_a_terminal_shows_them() -> None:
    assert [columns_of(text) for text in ("ab", "猫", "e\u0301")] == [2, 2, 1]
    first, second = format_table(HEAD, [("猫", "1"), ("abc", "2")]).splitlines()[1:]
    assert (first, second) == ("猫    1", "abc   2")


@pytest.mark.parametrize("width", [20, 30, 60])
def test_the_widest_column_is_cut_to_the_width(width: int) -> None:
    lines = format_table(HEAD, [("a long text " * 20, "0.125"), ("猫" * 50, "1")], width).splitlines()
    assert max(map(columns_of, lines)) <= width
    assert lines[1].endswith("0.125")
    assert "…" in lines[1]


def test_a_terminal_that_is_far_too_narrow_still_gets_a_table() -> None:
    lines = format_table(HEAD, [("a long text", "0.125")], 3).splitlines()
    assert lines[1] == "a long …  0.125"


def test_cells_steer_no_terminal() -> None:
    assert format_table(("a",), [("x\x1b[31m\r\ny",)]).splitlines() == ["a", "x [31m  y"]


def test_a_pipe_gets_whole_lines_and_a_terminal_its_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table.shutil, "get_terminal_size", lambda: os.terminal_size((24, 10)))
    row = ("word " * 20, "1")
    print_table(HEAD, [row])
    whole = capsys.readouterr().out
    monkeypatch.setattr(table.sys.stdout, "isatty", lambda: True, raising=False)
    print_table(HEAD, [row])
    cut = capsys.readouterr().out
    assert row[0] in whole
    assert max(map(len, cut.splitlines())) <= 24


def test_a_standard_output_that_is_closed_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "sys", SimpleNamespace(stdout=None))
    print_table(HEAD, [("a", "1")])
    assert capsys.readouterr().out == "text  score\na     1\n"
