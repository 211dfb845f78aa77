"""The examples of the client's README, run against a real server of dummy models."""

from __future__ import annotations

import doctest
from pathlib import Path

import pictures_made as pictures
import pytest
from server_process import ServerProcess

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
BLOCKS = "```python\n"
# Those before the first prompt: they name photographs that a reader has.
NOT_RUN = 3


def test_the_examples_of_the_readme_do_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    with ServerProcess(tmp_path, "dummy", "dummy-encoder") as server:
        names = {"url": server.url, "photo": pictures.png()}
        examples = doctest.DocTestParser().get_doctest(text.replace("```", ""), names, "README", str(README), 0)
        told: list[str] = []
        outcome = doctest.DocTestRunner().run(examples, out=told.append)
    assert outcome.failed == 0, "".join(told)
    assert outcome.attempted > 10


def test_no_more_blocks_than_told_are_not_run() -> None:
    blocks = [block.partition("```")[0] for block in README.read_text(encoding="utf-8").split(BLOCKS)[1:]]
    assert sum(">>>" not in block for block in blocks) == NOT_RUN
