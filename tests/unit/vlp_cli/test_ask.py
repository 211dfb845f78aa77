from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner
from vlp_cli import server_url
from vlp_cli.main import cli
from vlp_client import Answer, ConnectError, QuestionResult, VqaResults


class FakeClient:
    calls: list[dict[str, Any]] = []
    fault: Exception | None = None

    def __init__(self, url: str, api_key: str | None, timeout_s: float) -> None:
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def vqa(self, image: Any, question: list[str], **options: Any) -> VqaResults:
        self.calls.append({"url": self.url, "image": image, "question": question, **options})
        if self.fault is not None:
            raise self.fault
        answers = (Answer("red", 0.75), Answer("light blue", 0.25))
        return VqaResults("m@1", tuple(QuestionResult(text, answers) for text in question), {})


@pytest.fixture(autouse=True)
def fake_client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    monkeypatch.setattr(FakeClient, "calls", [])
    monkeypatch.setattr(FakeClient, "fault", None)
    monkeypatch.setattr(server_url, "Client", FakeClient)
    return FakeClient


def test_a_table() -> None:
    done = CliRunner().invoke(cli, ["ask", "a.jpg", "what colour?", "--url", "http://x:1", "--top-k", "2"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "answer      score",
        "red         0.750  ###############",
        "light blue  0.250  #####",
        "(m@1)",
    ]
    assert FakeClient.calls == [
        {
            "url": "http://x:1",
            "image": "a.jpg",
            "question": ["what colour?"],
            "top_k": 2,
            "answers": None,
            "model": None,
        }
    ]


def test_json_and_several_questions() -> None:
    arguments = ["ask", "a.jpg", "a?", "b?", "--json", "--answer", "red", "--answer", "blue", "--model", "m"]
    done = CliRunner().invoke(cli, arguments)
    body = json.loads(done.output)
    assert body["model"] == "m@1"
    assert [result["question"] for result in body["results"]] == ["a?", "b?"]
    assert body["results"][0]["answers"][0] == {"answer": "red", "score": 0.75}
    assert (FakeClient.calls[0]["answers"], FakeClient.calls[0]["model"]) == (("red", "blue"), "m")


def test_standard_input() -> None:
    done = CliRunner().invoke(cli, ["ask", "-", "what?"], input=b"\x89PNG")
    assert done.exit_code == 0
    assert FakeClient.calls[0]["image"] == b"\x89PNG"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (ConnectError("http://x: refused; is the server up?"), 3, "is the server up?"),
        (FileNotFoundError(2, "No such file or directory"), 2, "a.jpg: No such file or directory"),
    ],
)
def test_failures(fault: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeClient, "fault", fault)
    done = CliRunner().invoke(cli, ["ask", "a.jpg", "what?"])
    assert done.exit_code == code
    assert words in done.stderr


def test_a_question_is_needed(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["ask", str(tmp_path / "a.jpg")]).exit_code == 2


def test_the_name_of_a_model_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeClient, "vqa", lambda *_, **__: VqaResults("m\x1b]0;x\x07@1", (), {}))
    done = CliRunner().invoke(cli, ["ask", "a.jpg", "what?"])
    assert done.stdout == "(m ]0;x @1)\n"
