"""The examples of the client's README, run against a real server of dummy models."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pictures_made as pictures
import pytest
from server_process import ServerProcess

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
MODELS = ("dummy", "dummy-encoder", "dummy-captioner", "dummy-entailment", "dummy-reasoning", "dummy-grounding")
MODELS += ("dummy-extractor", "dummy-reader")
# What a reader has, and what the test has in its place.
PHOTOS = ("photo.jpg", "left.jpg", "right.jpg")


def blocks() -> list[str]:
    return [block.partition("```")[0] for block in README.read_text(encoding="utf-8").split("```python\n")[1:]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server"), *MODELS) as server:
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for seed, name in enumerate(PHOTOS):
        image = pictures.gradient().rotate(90 * seed)
        (tmp_path / name).write_bytes(pictures.encode(image, "JPEG"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sessions_of_the_readme_do_as_they_say(server: ServerProcess) -> None:
    names = {"url": server.url, "photo": pictures.png()}
    text = "\n".join(block for block in blocks() if ">>>" in block)
    examples = doctest.DocTestParser().get_doctest(text, names, "README", str(README), 0)
    told: list[str] = []
    outcome = doctest.DocTestRunner().run(examples, out=told.append)
    assert outcome.failed == 0, "".join(told)
    assert outcome.attempted > 10


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_other_blocks_run(server: ServerProcess, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.grpc_url if scheme == "grpc" else server.url
    others = [block for block in blocks() if ">>>" not in block]
    assert len(others) == 3
    names: dict[str, Any] = {}
    for block in others:
        code = block.replace("http://127.0.0.1:8080", url).replace("my-uniter", "dummy-reader")
        exec(compile(code, str(README), "exec"), names)  # noqa: S102  # text of this repository
    names["client"].close()
    printed = capsys.readouterr().out
    assert "dummy@1" in printed
    assert "is it raining?" in printed
