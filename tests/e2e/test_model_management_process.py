"""A real server whose models are changed by the command while clients ask it without a pause."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pictures_made as pictures
import pytest
from server_process import ServerProcess
from tiny_repository import build_graph, publish
from vlp_client import Client

CALLERS = 4


def run(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vlp_cli", "models", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VLPSERVE_")}
    return subprocess.run(
        command, env={**environment, "VLPSERVE_URL": server.url}, capture_output=True, text=True, timeout=60
    )


def changed(server: ServerProcess, *arguments: str) -> dict[int, dict[str, Any]]:
    """What the command says of each version."""
    done = run(server, *arguments, "--json")
    assert done.returncode == 0, done.stderr + server.log
    return {one["version"]: one for one in json.loads(done.stdout)["models"]}


class Callers:
    """Ask again as soon as they have their answer; an error ends the test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._done = [self._pool.submit(self._keep_asking) for _ in range(CALLERS)]
        self.answers: list[tuple[str, str]] = []

    def _keep_asking(self) -> None:
        with Client(self._url) as client:
            while not self._stop.is_set():
                reply = client.vqa(pictures.png(), "what colour is it", model="tiny")
                self.answers.append((reply.model, reply.best))

    def end(self) -> None:
        self._stop.set()
        self._pool.shutdown()
        for one in self._done:
            one.result()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    publish(root, version=1)
    return root


def test_models_are_changed_under_load_without_one_failed_request(repository: Path, tmp_path: Path) -> None:
    arguments = ("tiny", "--repository", str(repository), "--set", "http.admin=true", "--threads", "1")
    with ServerProcess(tmp_path, *arguments) as server:
        callers = Callers(server.url)
        publish(repository, version=2, scale=-1.0)  # exported while the server runs
        publish(repository, version=3, graph=build_graph(scale=1.5))
        assert changed(server, "load", "tiny@2")[2]["state"] == "served"
        failed = run(server, "load", "tiny@3")
        assert (failed.returncode, "off by" in failed.stderr) == (1, True)
        assert changed(server, "switch", "tiny@2")[2]["current"]
        assert changed(server, "rollback", "tiny")[1]["current"]
        changed(server, "switch", "tiny@2")
        after = changed(server, "unload", "tiny@1")
        assert [after[version]["state"] for version in (1, 2, 3)] == ["on_disk", "served", "failed"]
        callers.end()
        with Client(server.url) as client:
            assert client.vqa(pictures.png(), "what colour is it", model="tiny").model == "tiny@2"
            assert client.ready()
        by_model = dict(callers.answers)
        assert set(by_model) == {"tiny@1", "tiny@2"}
        assert set(callers.answers) == set(by_model.items())  # each version always gave its own answer
        assert len(set(by_model.values())) == 2
        server.terminate()
        assert server.exit_code() == 0
        assert "Traceback" not in server.log


def test_a_server_without_keys_lets_nobody_change_its_models(repository: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "tiny", "--repository", str(repository), "--threads", "1") as server:
        refused = run(server, "unload", "tiny@1", "--force")
        assert (refused.returncode, "/v1/admin/ is closed" in refused.stderr) == (1, True)
        with Client(server.url) as client:
            assert [model.id for model in client.models()] == ["tiny@1"]
