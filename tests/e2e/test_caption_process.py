"""A real process that captions word by word: what comes when, who leaves, and what a stop in the middle does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pictures_made as pictures
import pytest
from server_process import ServerProcess
from vlp_client import CapacityError, Client

LONG = {"max_tokens": 500, "min_tokens": 500}


def inside(server: ServerProcess) -> int:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    return int(float(text.partition("\nvlpserve_requests_inside ")[2].split()[0]))


def test_words_arrive_while_others_are_written_and_leaving_ends_the_work(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy-captioner", VLPSERVE_ENGINE_DUMMY_LATENCY_S="0.02") as server:
        with Client(server.url) as client:
            with client.stream_caption(pictures.jpeg(), **LONG) as words:
                assert len([next(words) for _ in range(3)]) == 3
                assert inside(server) == 1
                assert words.answer is None
            for _ in range(2000):
                if not inside(server):
                    break
            assert inside(server) == 0, server.log
            short = client.stream_caption(pictures.jpeg(), max_tokens=5)
            text = "".join(short)
            assert short.answer is not None
            assert short.answer.best == text == client.caption(pictures.jpeg(), max_tokens=5).best
        command = [sys.executable, "-m", "vlp_cli", "caption", "-", "--url", server.url, "--max-tokens", "5"]
        for options, printed in (
            (["--stream"], f"{text}\n(dummy-captioner@1)\n"),
            (["--json"], None),
        ):
            done = subprocess.run([*command, *options], input=pictures.jpeg(), capture_output=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert printed is None or done.stdout.decode() == printed
        assert json.loads(done.stdout)["captions"][0]["text"] == text


def test_a_stop_in_the_middle_of_a_stream_is_told_and_the_process_ends_with_0(tmp_path: Path) -> None:
    environment = {"VLPSERVE_ENGINE_DUMMY_LATENCY_S": "0.05", "VLPSERVE_HTTP_DRAIN_TIMEOUT_S": "1"}
    with ServerProcess(tmp_path, "dummy-captioner", **environment) as server, Client(server.url) as client:
        words = client.stream_caption(pictures.jpeg(), **LONG)
        assert next(words)
        server.terminate()
        with pytest.raises(CapacityError) as caught:
            list(words)
        assert (caught.value.kind, caught.value.status) == ("unavailable", 503)
        assert server.exit_code() == 0, server.log


def test_a_stop_waits_for_a_stream_that_ends_in_time(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy-captioner", VLPSERVE_ENGINE_DUMMY_LATENCY_S="0.02") as server:
        with Client(server.url) as client:
            words = client.stream_caption(pictures.jpeg(), max_tokens=20, min_tokens=20)
            assert next(words)
            server.terminate()
            assert list(words)
            assert words.answer is not None
        assert server.exit_code() == 0, server.log
