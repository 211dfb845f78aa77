from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from vlp_cli import server_url
from vlp_cli.main import cli
from vlp_client import Client

ANSWER = {"captions": [{"text": "a red boat", "score": 0.75}, {"text": "a boat", "score": 0.25}], "model": "m@1"}
DONE = f"event: done\ndata: {json.dumps({**ANSWER, 'timings_ms': {}})}\n\n"
PROBLEM = '{"kind": "unavailable", "detail": "the server stopped", "status": 503}'
WORDS = 'data: {"text": "a red"}\n\ndata: {"text": " boat"}\n\n'
Run = Callable[..., Result]


class Door:
    """Answers as `answer` says; keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.text = WORDS + DONE

    def handle(self, request: httpx.Request) -> httpx.Response:
        fields: dict[str, Any] = json.loads(request.read())
        self.sent.append(fields)
        if not fields.get("stream"):
            return httpx.Response(200, json=ANSWER)
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=self.text.encode())


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    made = functools.partial(Client, transport=httpx.MockTransport(door.handle))
    monkeypatch.setattr(server_url, "Client", made)
    return door


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["caption", "https://example.org/a.jpg", *arguments])


def test_a_table(door: Door) -> None:
    done = run("--model", "m")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "caption     score",
        "a red boat  0.750  ###############",
        "a boat      0.250  #####",
        "(m@1)",
    ]
    assert door.sent == [{"image": "https://example.org/a.jpg", "model": "m"}]


def test_json(door: Door) -> None:
    assert json.loads(run("--json").output) == {"model": "m@1", "captions": ANSWER["captions"]}


def test_every_option_is_sent(door: Door) -> None:
    numbers = {"max_tokens": 9, "min_tokens": 2, "num_beams": 3, "num_captions": 2, "seed": 0}
    fractions = {"length_penalty": -1.0, "temperature": 0.5, "top_p": 0.9}
    options = {"prompt": "a photo of", **numbers, **fractions}
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--stream").exit_code == 0
    whole, streamed = door.sent
    assert whole == {"image": "https://example.org/a.jpg", **options}
    assert streamed == {**whole, "stream": True}


def test_words_are_printed_as_they_come_and_other_captions_below(door: Door) -> None:
    done = run("--stream")
    assert done.exit_code == 0, done.output
    assert done.stdout == "a red boat\na boat\n(m@1)\n"


def test_a_fault_in_the_middle_is_told_on_a_line_of_its_own(door: Door) -> None:
    door.text = f"{WORDS}event: error\ndata: {PROBLEM}\n\n"
    done = run("--stream")
    assert done.exit_code == 4
    assert done.stdout == "a red boat\n"
    assert done.stderr == "Error: unavailable: the server stopped\n"


def test_a_picture_on_standard_input(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Seeing(Client):
        def caption(self, image: Any, *arguments: Any, **options: Any) -> Any:
            seen.append(image)
            return super().caption("https://example.org/a.jpg", *arguments, **options)

    monkeypatch.setattr(server_url, "Client", functools.partial(Seeing, transport=httpx.MockTransport(door.handle)))
    assert CliRunner().invoke(cli, ["caption", "-"], input=b"\x89PNG").exit_code == 0
    assert seen == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.jpg", "--stream", "--json"], "both are given"),
        (["a.npz"], "these are regions"),
        (["a.jpg", "--temperature", "nan"], "--temperature"),
        (["a.jpg", "--max-tokens", "few"], "--max-tokens"),
        ([], "Missing argument"),
        (["no-such-picture.jpg"], "no-such-picture.jpg: No such file or directory"),
    ],
)
def test_faults_of_the_command_line(arguments: list[str], words: str, door: Door) -> None:
    done = CliRunner().invoke(cli, ["caption", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert door.sent == []
