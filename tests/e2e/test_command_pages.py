"""The examples of the command's pages, run one after another against the shipped models."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess

ROOT = Path(__file__).parents[2]
PROGRAMS = {"vlpserve": [sys.executable, "-m", "vlp_cli"], "locust": [sys.executable, "-m", "locust"]}
ADDRESS = "http://127.0.0.1:8080"


def examples(page: str) -> list[list[str]]:
    """The command lines of all blocks below the mark `run`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [part.split("```")[1] for part in text.split("<!-- run -->\n")[1:]]
    return [shlex.split(line) for block in blocks for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("shipped")) as started:
        yield started


def run(words: list[str], url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One example; what it writes goes to a folder, and its address is that of the server."""
    placed = [str(folder / word) if word.startswith("report.") else word.replace(ADDRESS, url) for word in words[1:]]
    environment = {**os.environ, "VLPSERVE_URL": url}
    command = [*PROGRAMS[words[0]], *placed]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("page", ["docs/cli.md", "clients/loadtest/README.md"])
def test_examples_run(page: str, server: ServerProcess, tmp_path: Path) -> None:
    commands = examples(page)
    assert len(commands) >= 4
    for words in commands:
        done = run(words, server.url, tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert done.stdout or "answered, 0 failed" in done.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {word for words in commands for word in words if word.startswith("report.")}
