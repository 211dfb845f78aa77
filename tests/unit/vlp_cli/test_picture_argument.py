from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from vlp_cli import picture_argument
from vlp_cli.main import CommandFailure, RequestFailure
from vlp_cli.picture_argument import bar, read_argument, read_pair, told_faults
from vlp_client import ConnectError, TimeoutError


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(stdin=SimpleNamespace(buffer=io.BytesIO(b"from standard input")))
    monkeypatch.setattr(picture_argument, "sys", fake)


@pytest.mark.parametrize("argument", ["a.jpg", "https://example.org/a.jpg", "https://example.org/a.npz", "npz"])
def test_a_picture_is_left_to_the_client(argument: str) -> None:
    assert read_argument(argument) == (argument, {})


@pytest.mark.parametrize("argument", ["a.npz", "folder/A.NPZ"])
def test_a_file_of_regions_stands_for_its_picture(argument: str) -> None:
    assert read_argument(argument) == (None, {"regions": argument})


def test_standard_input(stdin: None) -> None:
    assert read_argument("-") == (b"from standard input", {})


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (("a.jpg", "b.jpg"), (("a.jpg", "b.jpg"), {})),
        (("a.jpg", "-"), (("a.jpg", b"from standard input"), {})),
        (("-", "b.jpg"), ((b"from standard input", "b.jpg"), {})),
        (("a.npz", "b.npz"), (None, {"regions": ("a.npz", "b.npz")})),
    ],
)
def test_pairs(sides: tuple[str, str], expected: Any, stdin: None) -> None:
    assert read_pair(*sides) == expected


@pytest.mark.parametrize("sides", [("a.npz", "b.jpg"), ("a.jpg", "b.npz"), ("-", "b.npz"), ("-", "-")])
def test_what_is_no_pair(sides: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError):
        read_pair(*sides)


def test_faults_of_the_server_and_of_files_have_their_exit_codes(tmp_path: Path) -> None:
    for fault in (ConnectError("is the server up?"), TimeoutError("no answer in time")):
        with pytest.raises(RequestFailure, match=str(fault)), told_faults("a.jpg"):
            raise fault
    with pytest.raises(CommandFailure, match="none.jpg: No such file") as caught, told_faults("a.jpg, b.jpg"):
        (tmp_path / "none.jpg").read_bytes()
    assert not isinstance(caught.value, RequestFailure)
    with pytest.raises(CommandFailure, match="a.jpg: no space"), told_faults("a.jpg"):
        raise OSError("no space")


@pytest.mark.parametrize(("score", "length"), [(0.0, 0), (0.5, 10), (1.0, 20)])
def test_a_bar_is_as_long_as_the_score(score: float, length: int) -> None:
    assert bar(score) == "#" * length


def test_a_standard_input_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_argument, "sys", SimpleNamespace(stdin=None))
    with pytest.raises(CommandFailure, match="standard input is closed"):
        read_argument("-")


def test_an_argument_that_the_sdk_refuses_is_told() -> None:
    with pytest.raises(CommandFailure, match="deadline_s: expected above 0") as caught, told_faults("a.jpg"):
        raise ValueError("deadline_s: expected above 0")
    assert caught.value.exit_code == 2
