"""The load test against real servers: it asks what is served, and says by its exit code how it went."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess

ROOT = Path(__file__).parents[2]
LOCUSTFILE = ROOT / "clients" / "loadtest" / "locustfile.py"
STUB = ROOT / "tests" / "support" / "stalling_server.py"
STALL_S = 1.5


def run_locust(url: str, *arguments: str) -> tuple[int, dict[str, int], str]:
    """Exit code, requests by name, and what was said; two users for two seconds."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless"]
    command += ["--host", url, "--users", "2", "--spawn-rate", "2", "--run-time", "2s", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    rows = json.loads(done.stdout) if done.stdout.startswith("[") else []
    return done.returncode, {row["name"]: row["num_requests"] for row in rows}, done.stdout + done.stderr


def run_open(url: str, report: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, report, and what was said, of `vlpserve loadtest`."""
    command = [sys.executable, "-m", "vlp_cli", "loadtest", "--url", url, "--report-json", str(report), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}, done.stdout + done.stderr


@contextmanager
def stalling_server(stall_after: int, stall_s: float = STALL_S) -> Iterator[str]:
    """Address of a server that answers nobody for so long after so many questions."""
    command = [sys.executable, str(STUB), str(stall_after), str(stall_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def test_it_asks_the_tasks_that_are_served(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy", "dummy-captioner") as server:
        code, requests, said = run_locust(server.url)
    assert code == 0, said
    assert set(requests) == {"vqa", "caption", "caption_stream"}


@pytest.mark.parametrize("choice", [("--tags", "vqa"), ("VqaUser",)])
def test_tags_and_users_choose_the_tasks(choice: tuple[str, ...], dummy_server: ServerProcess) -> None:
    code, requests, said = run_locust(dummy_server.url, "--model", "dummy", *choice)
    assert code == 0, said
    assert set(requests) == {"vqa"}


def test_nothing_to_ask_is_a_failure(dummy_server: ServerProcess) -> None:
    code, _, said = run_locust(dummy_server.url, "--tags", "grounding")
    assert code == 2
    assert "nothing to ask" in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "ftp://server"])
def test_a_server_that_is_not_there_is_told(url: str) -> None:
    code, _, said = run_locust(url)
    assert (code, url in said) == (3 if url.startswith("http") else 2, True)


def test_a_refused_key_is_a_failure(tmp_path: Path) -> None:
    keys = f"reader:read:{'0' * 64}"
    with ServerProcess(tmp_path, "dummy", VLPSERVE_ACCESS_KEYS=keys) as server:
        code, _, said = run_locust(server.url, "--api-key", "nobody's")
    assert code == 1
    assert "unauthenticated" in said


def test_a_collection_is_searched_and_filled(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy-encoder") as server:
        httpx.put(f"{server.url}/v1/collections/load", json={"model": "dummy-encoder"}, trust_env=False)
        arguments = ("--collection", "load", "--tags", "search", "--bulk-share", "0.5", "--rate", "40")
        code, report, said = run_open(server.url, tmp_path / "r.json", *arguments, "--run-time", "2s")
        found = httpx.get(f"{server.url}/v1/collections/load", trust_env=False).json()
    assert code == 0, said
    assert set(report["tasks"]) == {"search", "index"}
    assert found["items"] == report["tasks"]["index"]["ok"]


def test_an_open_loop_writes_its_report_and_keeps_its_bounds(tmp_path: Path, dummy_server: ServerProcess) -> None:
    page = tmp_path / "r.html"
    arguments = ("--rate", "30", "--arrivals", "constant", "--run-time", "2s", "--report-html", str(page))
    code, report, said = run_open(dummy_server.url, tmp_path / "r.json", *arguments, "--max-error-share", "0")
    assert code == 0, said
    assert report["total"]["ok"] == report["total"]["requests"] > 0
    assert (report["load"]["loop"], report["load"]["rate"], report["missed"]) == ("open", 30, [])
    assert page.read_text().startswith("<!doctype html>")
    code, report, said = run_open(dummy_server.url, tmp_path / "r.json", *arguments, "--min-rate", "1000")
    assert code == 1
    assert report["missed"][0] in said


def test_a_server_that_stalls_is_seen_by_the_open_loop_and_hidden_by_a_closed_one(tmp_path: Path) -> None:
    """The same server stalls once, after 40 questions. Of what was due in an open loop many wait for it; of a closed
    loop's many requests two do, since its callers ask nothing meanwhile: coordinated omission.
    """
    with stalling_server(40) as url:
        arguments = ("--rate", "40", "--arrivals", "constant", "--run-time", "4s")
        code, opened, said = run_open(url, tmp_path / "open.json", *arguments)
    assert code == 0, said
    with stalling_server(40) as url:
        code, closed, said = run_open(url, tmp_path / "closed.json", "--users", "2", "--run-time", "4s")
    assert code == 0, said
    assert closed["total"]["requests"] > 200
    stall_ms = 1000 * STALL_S
    assert closed["total"]["latency_ms"]["max"] >= stall_ms
    assert opened["total"]["latency_ms"]["p99"] >= 0.9 * stall_ms
    assert opened["total"]["latency_ms"]["p90"] >= 0.5 * stall_ms
    assert closed["total"]["latency_ms"]["p99"] < 0.5 * stall_ms


def test_who_waits_for_a_caller_waits_from_when_the_request_was_due(tmp_path: Path) -> None:
    """One caller alone: it sends the others after the stall, and from sending on nothing is seen."""
    with stalling_server(40) as url:
        arguments = ("--rate", "40", "--arrivals", "constant", "--run-time", "4s", "--users", "1")
        code, report, said = run_open(url, tmp_path / "r.json", *arguments)
    assert code == 0, said
    total, stall_ms = report["total"], 1000 * STALL_S
    assert total["latency_ms"]["p90"] >= 0.5 * stall_ms
    assert total["service_ms"]["p90"] < 0.5 * stall_ms


def test_what_is_too_much_is_counted_and_not_sent(tmp_path: Path) -> None:
    with stalling_server(1) as url:
        arguments = ("--rate", "100", "--run-time", "1s", "--max-outstanding", "5", "--grace", "0")
        code, report, said = run_open(url, tmp_path / "r.json", *arguments, "--max-error-share", "0.5")
    assert code == 1, said
    total = report["total"]
    assert total["unanswered"] == 5
    assert total["shed"] == total["requests"] - total["unanswered"] - total["ok"] > 0
    assert (total["latency_ms"]["p50"], report["missed"] != []) == (None, True)


@pytest.mark.parametrize(
    ("loop", "share"), [(("--rate", "20"), ()), (("--users", "4"), ()), (("--users", "4"), ("--max-error-share", "0"))]
)
def test_a_server_that_answers_nobody_is_a_failure(
    tmp_path: Path, loop: tuple[str, ...], share: tuple[str, ...]
) -> None:
    with stalling_server(1, stall_s=3600) as url:
        arguments = (*loop, "--run-time", "1s", "--grace", "0.2", *share)
        code, report, said = run_open(url, tmp_path / "r.json", *arguments)
    assert code == 1, said
    assert report["total"]["unanswered"] == report["total"]["requests"] > 0


def test_several_processes_have_no_bounds_and_fail_where_nobody_is_answered(tmp_path: Path) -> None:
    arguments = ("--users", "2", "--run-time", "1s", "--grace", "0.2", "--processes", "2")
    with stalling_server(1, stall_s=3600) as url:
        code, _, said = run_open(url, tmp_path / "r.json", *arguments)
        assert (code, "one process alone" in said) == (2, True), said
        command = [sys.executable, "-m", "vlp_cli", "loadtest", "--url", url, *arguments]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1


class Crooked(BaseHTTPRequestHandler):
    """Lists a model; questions are sent elsewhere, or answered in an encoding that the answer is not in."""

    sends_to: str | None = None

    def do_GET(self) -> None:
        self.reply(200, json.dumps({"data": [{"name": "stub", "tasks": ["vqa"]}], "collections": []}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.sends_to is not None:
            self.reply(307, b"", Location=self.sends_to + self.path)
        else:
            self.reply(200, b"abc", **{"Content-Encoding": "gzip"})

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize(("elsewhere", "fault"), [(True, "status_307"), (False, "unexpected_answer")])
def test_what_is_no_answer_is_counted_and_no_redirect_is_followed(tmp_path: Path, elsewhere: bool, fault: str) -> None:
    with stalling_server(1, stall_s=3600) as other:
        handler = type("Handler", (Crooked,), {"sends_to": other if elsewhere else None})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            arguments = ("--rate", "20", "--run-time", "1s", "--grace", "0.5")
            code, report, said = run_open(url, tmp_path / "r.json", *arguments)
            server.shutdown()
    assert code == 1, said
    assert list(report["total"]["faults"]) == [fault], said


def test_an_address_with_a_password_is_refused_without_it() -> None:
    code, _, said = run_locust("http://user:s3cret@127.0.0.1:9")
    assert code == 2
    assert "s3cret" not in said
