"""What README promises to someone who has just cloned, asked of the real server with the shipped model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx
from server_process import ServerProcess

ROOT = Path(__file__).parents[2]


def test_the_first_question_of_the_readme_gets_the_answer_that_it_names(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = next(line for line in readme.splitlines() if line.startswith("curl "))
    promised = re.search(r"first of `answers` is `([^`]+)`", readme)
    assert promised is not None
    words = shlex.split(command)
    fields = dict(after.split("=", 1) for word, after in zip(words, words[1:], strict=False) if word == "-F")
    picture = ROOT / fields.pop("image").removeprefix("@")
    with ServerProcess(tmp_path) as server:
        url = httpx.URL(words[-1]).copy_with(port=server.port)
        reply = httpx.post(url, files={"image": picture.read_bytes()}, data=fields, timeout=60, trust_env=False)
    assert reply.status_code == 200, reply.text
    assert reply.json()["answers"][0]["answer"] == promised[1]
