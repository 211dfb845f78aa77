"""Somebody who reads a page of the documentation and types what it says, from top to bottom."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from page_blocks import ROOT, Block, is_as_told
from server_process import ServerProcess

SAMPLES = ROOT / "models" / "zoo" / "vlp_zoo" / "samples"
_PROGRAMS = {"vlpserve": "-m vlp_cli", "python": "", "locust": "-m locust"}
# What a page takes for granted: pictures of the reader's own.
_PICTURES = {"photo.jpg": "gallery-1.jpg", "picture.jpg": "scene-1.jpg"}
# The same for less time.
_SHORTER = {"--run-time 5s": "--run-time 2s", "--duration 2 ": "--duration 1 "}
# The log's thread may be a moment behind the answer.
_PATIENT_GREP = 'grep() { for n in $(seq 200); do command grep "$@" && return; sleep 0.05; done; return 1; }'
_END = "\0END\0"
_SERVES = ("make serve", "vlpserve serve")


class Printed(NamedTuple):
    """What a block printed: on standard output, and on standard error."""

    out: str = ""
    err: str = ""


class PageReader:
    """Runs the blocks of one page in a folder of its own.

    `make serve` and `vlpserve serve` without arguments are the shared server, which runs already; with arguments they
    start one that goes on to the end. Addresses of the page become those of the server. Variables that a block of
    the shell sets are there in the next one, and in Python by their name in small letters; names of Python stay, too.

    Args:
        folder: an empty one.
        shared: a server of the shipped models.
        stand_in: models that `vlpserve serve` of this page serves in the place of the shipped ones.
        over_grpc: whether Python's client speaks gRPC where the page speaks HTTP.
    """

    def __init__(self, folder: Path, shared: ServerProcess, *stand_in: str, over_grpc: bool = False) -> None:
        self.folder = folder
        self.server = shared
        self._stand_in = stand_in
        self._over_grpc = over_grpc
        self._held = ExitStack()
        self._started = 0
        self._variables: dict[str, str] = {}
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self._furnish()

    def __enter__(self) -> PageReader:
        self._held.enter_context(contextlib.chdir(self.folder))
        return self

    def __exit__(self, *error: object) -> None:
        for value in self.names.values():
            if type(value).__name__.endswith("Client"):
                value.close()
        self._held.close()

    def run(self, block: Block) -> Printed:
        """Run a block; what it prints, the servers that it starts left out.

        Raises:
            AssertionError: it fails, or prints other than what it says behind its calls of print.
        """
        return self._run_python(block) if block.language == "python" else self._run_shell(block)

    def _furnish(self) -> None:
        for name in ("models", "clients", "docker"):
            (self.folder / name).symlink_to(ROOT / name)
        for name, sample in _PICTURES.items():
            shutil.copy(SAMPLES / sample, self.folder / name)
        shutil.copytree(SAMPLES, self.folder / "photos")
        tools = self.folder / ".tools"
        tools.mkdir()
        for name, module in _PROGRAMS.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
            (tools / name).chmod(0o755)
        (tools / ".curlrc").write_text('silent\nshow-error\nfail-with-body\nwrite-out = "\\n"\n')

    def _run_python(self, block: Block) -> Printed:
        said = io.StringIO()
        self.names |= {name.lower(): value for name, value in self._variables.items()}
        text = block.text.replace("http://127.0.0.1:8080", "grpc://127.0.0.1:8081") if self._over_grpc else block.text
        code = compile(self._here(text), f"{block.page}:{block.line}", "exec")
        with contextlib.redirect_stdout(said):
            exec(code, self.names)  # noqa: S102 - our own page
        lines = said.getvalue().splitlines()
        for promise in block.promises:
            assert any(is_as_told(promise, line) for line in lines), f"{block.page}: {promise!r} is not in {lines}"
        return Printed(said.getvalue())

    def _run_shell(self, block: Block) -> Printed:
        parts, lines = list[Printed](), list[str]()
        for line in block.text.replace("\\\n", "").splitlines():
            if line.startswith(_SERVES):
                parts.append(self._type(lines))
                lines = []
                self._serve(shlex.split(line, comments=True)[2:])
            else:
                lines.append(line)
        parts.append(self._type(lines))
        return Printed("".join(part.out for part in parts), "".join(part.err for part in parts))

    def _serve(self, arguments: list[str]) -> None:
        if not arguments:
            return
        self._started += 1
        folder = self.folder / f".server{self._started}"
        folder.mkdir()
        words = [*self._stand_in, *arguments]
        self.server = self._held.enter_context(ServerProcess(folder, *words, cwd=self.folder))

    def _type(self, lines: list[str]) -> Printed:
        script = "\n".join(lines)
        for told, shorter in _SHORTER.items():
            script = script.replace(told, shorter)
        kept = sorted({*self._variables, *re.findall(r"^([A-Z]+)=", script, re.MULTILINE)})
        shown = "".join(f'printf "%s\\0" "${name}"\n' for name in kept)
        parts = ["set -euo pipefail", _PATIENT_GREP, self._here(script), f'printf "{_END}"', shown]
        whole = "\n".join(parts).replace("\0", "\\0")
        command = ["bash", "-c", whole]
        given = {"cwd": self.folder, "env": self._environment(), "timeout": 120}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **given)  # type: ignore[call-overload]
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        printed, _, values = done.stdout.rpartition(_END)
        self._variables = dict(zip(kept, values.split("\0")[:-1], strict=True))
        return Printed(printed, done.stderr)

    def _environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VLPSERVE_")}
        tools = self.folder / ".tools"
        return {
            **clean,
            **self._variables,
            "PATH": f"{tools}:{clean['PATH']}",
            "CURL_HOME": str(tools),
            "NO_PROXY": "*",
            "VLPSERVE_URL": self.server.url,
            "VLPSERVE_COLLECTIONS_PLACE": str(self.server.collections),
        }

    def _here(self, text: str) -> str:
        """The text with the addresses of the server that runs."""
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{self.server.port}").replace(
            "127.0.0.1:8081", self.server.grpc_url.removeprefix("grpc://")
        )
