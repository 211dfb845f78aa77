"""Every block of docs/access.md is run, in its order, against real servers; a test counts that none is left out."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pictures_made as pictures
import pytest
from server_process import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# What each block must print, lower case.
PROMISED = (
    ('"object":"list"', "answer"),
    ("",),
    ("rate=2000 burst=20000 concurrency=8000", "ratelimit-limit: 5000", "ratelimit-remaining: 4"),
    ("revoked laptop",),
    ('"request_id": "order-17"', '"questions": ["what is it?"]', '"task": "vqa"'),
    ("access-control-allow-origin: https://example.org",),
)
# The log's thread may be a moment behind the answer.
_PATIENT_GREP = 'grep() { for n in $(seq 200); do command grep "$@" && return; sleep 0.05; done; return 1; }'


class Reader:
    """Somebody who types what the page says: commands in a folder, and servers that go on until the next one.

    The page serves the shipped models at port 8080; here it is the dummy model, at any port.
    """

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self.folder = folder
        self.key = ""
        self._held = held
        self._server: ServerProcess | None = None
        self._servers = 0
        tools = folder / "tools"
        tools.mkdir()
        (tools / "vlpserve").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m vlp_cli "$@"\n')
        (tools / "vlpserve").chmod(0o755)
        (tools / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        (folder / "photo.jpg").write_bytes(pictures.jpeg())

    def type(self, block: str) -> str:
        """Run the lines of a block of the shell; what they print."""
        told, lines = "", []
        for line in block.splitlines():
            if line.startswith("vlpserve serve "):
                told += self._run(lines)
                lines = []
                self._serve(shlex.split(line)[2:])
            else:
                lines.append(line)
        return told + self._run(lines)

    def run_python(self, block: str) -> str:
        """Run a block of Python; what it prints."""
        program = f"key = {self.key!r}\n{self._here(block)}"
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _serve(self, arguments: list[str]) -> None:
        if self._server is not None:
            self._server.__exit__(None, None, None)
        self._servers += 1
        folder = self.folder / f"server{self._servers}"
        folder.mkdir()
        placed = [re.sub(r"(^|=)(keys\.txt|access\.log)$", rf"\1{self.folder}/\2", one) for one in arguments]
        self._server = self._held.enter_context(ServerProcess(folder, "dummy", *placed))

    def _run(self, lines: list[str]) -> str:
        script = "\n".join(["set -euo pipefail", _PATIENT_GREP, *lines, 'printf "\\nKEY:%s" "$KEY"'])
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VLPSERVE_")}
        environment |= {
            "PATH": f"{self.folder}/tools:{environment['PATH']}",
            "CURL_HOME": f"{self.folder}/tools",
            "NO_PROXY": "*",
            "KEY": self.key,
        }
        if self._server is not None:
            environment["VLPSERVE_URL"] = self._server.url
        done = subprocess.run(
            ["bash", "-c", self._here(script)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told, _, self.key = done.stdout.rpartition("\nKEY:")
        return told + done.stderr

    def _here(self, text: str) -> str:
        return text if self._server is None else text.replace("http://127.0.0.1:8080", self._server.url)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as held:
        yield Reader(tmp_path, held)


def test_every_block_does_what_the_page_says(reader: Reader) -> None:
    assert len(BLOCKS) == len(PROMISED)
    for (language, block), promised in zip(BLOCKS, PROMISED, strict=True):
        told = {"sh": reader.type, "python": reader.run_python}[language](block).lower()
        missing = [words for words in promised if words not in told]
        assert not missing, told
