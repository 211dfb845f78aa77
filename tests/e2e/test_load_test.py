"""The load test against a real server: it asks what is served, and says by its exit code how it went."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from server_process import ServerProcess

LOAD_TEST = Path(__file__).parents[2] / "clients" / "loadtest"


def run_locust(url: str, *arguments: str) -> tuple[int, dict[str, int], str]:
    """Exit code, requests by name, and what was said; two users for two seconds."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(LOAD_TEST / "locustfile.py"), "--headless"]
    command += ["--host", url, "--users", "2", "--spawn-rate", "2", "--run-time", "2s", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    rows = json.loads(done.stdout) if done.stdout.startswith("[") else []
    return done.returncode, {row["name"]: row["num_requests"] for row in rows}, done.stdout + done.stderr


def test_it_asks_the_tasks_that_are_served(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy", "dummy-captioner") as server:
        code, requests, said = run_locust(server.url)
    assert code == 0, said
    assert set(requests) == {"/v1/models", "/v1/vqa", "/v1/caption"}


def test_tags_choose_the_tasks(dummy_server: ServerProcess) -> None:
    code, requests, said = run_locust(dummy_server.url, "--tags", "vqa", "--model", "dummy")
    assert code == 0, said
    assert set(requests) == {"/v1/models", "/v1/vqa"}


def test_nothing_to_ask_is_a_failure(dummy_server: ServerProcess) -> None:
    code, _, said = run_locust(dummy_server.url, "--tags", "grounding")
    assert code == 2
    assert "nothing to ask" in said


def test_a_refused_key_is_a_failure(tmp_path: Path) -> None:
    keys = f"reader:read:{'0' * 64}"
    with ServerProcess(tmp_path, "dummy", VLPSERVE_ACCESS_KEYS=keys) as server:
        code, _, said = run_locust(server.url, "--api-key", "nobody's")
    assert code == 1
    assert "unauthenticated" in said


def test_no_picture_is_like_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LOAD_TEST))
    import random

    from pictures import SIDE, drawn_picture

    drawn = [drawn_picture(random.Random(seed)) for seed in range(20)]
    assert len(set(drawn)) == 20
    assert Image.open(BytesIO(drawn[0])).size == (SIDE, SIDE)
