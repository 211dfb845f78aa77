from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pictures_made as pictures
import pytest
from server_process import ServerProcess
from vlp_client import Client, ServerError

CALL: dict[str, Any] = {"files": {"image": pictures.jpeg()}, "data": {"question": "what is it?"}}


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "vlp_cli", *arguments], capture_output=True, timeout=60, **options)


def inside(server: ServerProcess) -> int:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    return int(float(text.partition("\nvlpserve_requests_inside ")[2].split()[0]))


def wait_inside(server: ServerProcess, count: int) -> None:
    for _ in range(2000):
        if inside(server) == count:
            return
    raise AssertionError(f"never {count} requests inside: {server.log}")


def test_the_command_asks_a_running_server(dummy_server: ServerProcess, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(pictures.jpeg())
    by_file = run("ask", str(picture), "what is it?", "--url", dummy_server.url, "--json")
    by_stdin = run("ask", "-", "what is it?", "--url", dummy_server.url, "--json", input=picture.read_bytes())
    with Client(dummy_server.url) as client:
        answers = client.vqa(picture, "what is it?").answers
        assert client.ready()
    assert by_file.returncode == by_stdin.returncode == 0, by_file.stderr
    assert by_file.stdout == by_stdin.stdout
    results = json.loads(by_file.stdout)["results"]
    assert [(item["answer"], item["score"]) for item in results[0]["answers"]] == [(a.answer, a.score) for a in answers]
    listed = run("models", "--url", dummy_server.url)
    assert b"dummy@1" in listed.stdout
    refused = run("ask", "-", "what is it?", "--url", dummy_server.url, input=b"no picture")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"not a picture" in refused.stderr


def test_regions_that_were_found_once_are_asked_about_in_place_of_the_picture(tmp_path: Path) -> None:
    picture, kept = tmp_path / "a.jpg", tmp_path / "a.npz"
    picture.write_bytes(pictures.jpeg())
    models = ("dummy-extractor", "dummy-reader-entailment", "dummy-reader-reasoning", "dummy-reader-grounding")
    with ServerProcess(tmp_path, *models, "--engine", "dummy") as server:
        options = ("--url", server.url, "--json")
        found = run("regions", str(picture), "--npz", str(kept), *options)
        assert found.returncode == 0, found.stderr
        for command, sides, text in (("entail", 1, "a dog"), ("reason", 2, "two dogs"), ("ground", 1, "the dog")):
            by_picture = run(command, *[str(picture)] * sides, text, *options)
            by_regions = run(command, *[str(kept)] * sides, text, *options)
            assert by_picture.returncode == by_regions.returncode == 0, by_picture.stderr + by_regions.stderr
            assert by_picture.stdout == by_regions.stdout
            assert len(json.loads(by_picture.stdout)["results"]) == 1


def test_curl_s_way_of_sending_a_large_file(dummy_server: ServerProcess) -> None:
    """With Expect: 100-continue the server says no before a byte of the body is sent."""
    address = dummy_server.url.removeprefix("http://").partition(":")
    with socket.create_connection((address[0], int(address[2])), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/vqa?question=a HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Content-Length: 99000000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_a_client_that_hangs_up_leaves_no_request_behind(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy") as server:
        body = pictures.jpeg()
        head = "POST /v1/vqa?question=%5Bstall%5D HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_inside(server, 1)
        wait_inside(server, 0)
        assert httpx.get(f"{server.url}/livez", trust_env=False).status_code == 200


def test_sigterm_drains_a_request_in_flight_and_ends_with_0(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy", VLPSERVE_ENGINE_DUMMY_LATENCY_S="1") as server:
        replies: list[httpx.Response] = []
        caller = threading.Thread(
            target=lambda: replies.append(httpx.post(f"{server.url}/v1/vqa", timeout=30, trust_env=False, **CALL))
        )
        caller.start()
        wait_inside(server, 1)
        server.terminate()
        assert server.exit_code() == 0, server.log
        caller.join()
        assert replies[0].status_code == 200, replies[0].text
        assert replies[0].headers["connection"] == "close"
        assert not (tmp_path / "ready.json").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_the_drain_has_an_end(tmp_path: Path) -> None:
    environment = {"VLPSERVE_HTTP_DRAIN_TIMEOUT_S": "1"}
    with ServerProcess(tmp_path, "dummy", **environment) as server:
        faults: list[ServerError] = []

        def call() -> None:
            with Client(server.url, retries=None) as client, pytest.raises(ServerError) as caught:
                client.vqa(pictures.jpeg(), "[stall]")
            faults.append(caught.value)

        caller = threading.Thread(target=call)
        caller.start()
        wait_inside(server, 1)
        server.terminate()
        assert server.exit_code() == 0, server.log
        caller.join()
        assert (faults[0].status, faults[0].kind) == (503, "unavailable")


def test_standard_output_is_one_line(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "vlp_cli", "serve", "dummy", "--port", "0", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line == f"vlpserve is ready at http://127.0.0.1:{json.loads(ready.read_text())['http_port']}\n"
        process.terminate()
        assert process.stdout.read() == b""
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--port", "80a", "--log-level", "loud"],
            [b"flag: http.port: got '80a', expected an integer", b"flag: log.level: got 'loud', expected one of debug"],
        ),
        (["--engine", "quantum"], [b"flag: engine.engine: got 'quantum', expected dummy or onnx"]),
        (["no-such-model", "dummy"], [b"'no-such-model' is no deployment, checkpoint directory or hub id"]),
        (["dummy", "--set", "models.default=other"], [b"models.default: 'other' is not among"]),
    ],
)
def test_faults_of_the_start_end_with_2_and_all_words(arguments: list[str], words: list[bytes]) -> None:
    done = run("serve", *arguments)
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert b"Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_with_2(dummy_server: ServerProcess) -> None:
    done = run("serve", "dummy", "--port", str(dummy_server.port))
    assert done.returncode == 2
    assert b"cannot listen on 127.0.0.1 port" in done.stderr


def test_unknown_variables_end_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unknown variable VLPSERVE_HTTP_PROT"):
        ServerProcess(tmp_path, "dummy", VLPSERVE_HTTP_PROT="1").__enter__()
