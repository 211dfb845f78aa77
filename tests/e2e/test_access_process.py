"""API keys as an operator and a caller meet them: real commands, a real server, and a file that changes under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pictures_made as pictures
import pytest
from server_process import ServerProcess
from vlp_client import AuthenticationError, CapacityError, Client, PermissionDeniedError

REFUSED_WITHIN_S = 20.0


def run(*arguments: object, key: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VLPSERVE_")}
    if key is not None:
        environment["VLPSERVE_API_KEY"] = key
    command = [sys.executable, "-m", "vlp_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def make_key(file: Path, name: str, role: str) -> str:
    done = run("keys", "new", name, "--role", role, "--file", file)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def reader(folder: Path) -> str:
    return make_key(folder / "keys.txt", "reader", "read")


@pytest.fixture(scope="module")
def server(folder: Path, reader: str) -> Iterator[ServerProcess]:
    models = ("dummy", "dummy-encoder")
    with ServerProcess(folder, *models, "--keys-file", str(folder / "keys.txt"), "--access-log") as server:
        yield server


def test_the_client_asks_with_a_key_and_not_without(server: ServerProcess, reader: str) -> None:
    with Client(server.url) as nobody, Client(server.url, api_key=f"{reader}x") as stranger:
        assert nobody.ready()
        for client in (nobody, stranger):
            with pytest.raises(AuthenticationError):
                client.vqa(pictures.jpeg(), "what is it?")
    with Client(server.url, api_key=reader) as client:
        assert client.vqa(pictures.jpeg(), "what is it?").answers
        with pytest.raises(PermissionDeniedError, match="role write"):
            client.collection("pets").create()


def test_the_command_asks_with_a_key_and_not_without(server: ServerProcess, reader: str, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(pictures.jpeg())
    question = ("ask", picture, "what is it?", "--url", server.url, "--json")
    by_option, by_variable = run(*question, "--api-key", reader), run(*question, key=reader)
    assert (by_option.returncode, by_variable.returncode) == (0, 0), by_option.stderr + by_variable.stderr
    assert by_option.stdout == by_variable.stdout
    without = run(*question)
    assert (without.returncode, without.stdout) == (1, "")
    assert "this needs an API key" in without.stderr


def test_keys_come_and_go_while_the_server_runs(server: ServerProcess, folder: Path, reader: str) -> None:
    file = folder / "keys.txt"
    writer = make_key(file, "writer", "write")
    end = time.monotonic() + REFUSED_WITHIN_S
    with Client(server.url, api_key=writer) as client:
        known = False
        while not known:
            assert time.monotonic() < end, server.log
            try:
                known = client.models() != ()
            except AuthenticationError:
                continue
        client.collection("pets").create(model="dummy-encoder")
        assert run("keys", "revoke", file, "writer").returncode == 0
        while known:
            assert time.monotonic() < end, server.log
            try:
                client.models()
            except AuthenticationError:
                known = False
    with Client(server.url, api_key=reader) as client:
        assert [info.name for info in client.collections()] == ["pets"]
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith('{"time"')]
    assert "writer" in {line["key"] for line in lines}
    assert not any(key in server.log for key in (reader, writer))


def test_a_keys_file_at_fault_ends_the_start_with_2(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"laptop:root:{'a' * 64}\n")
    file.chmod(0o620)
    others = run("serve", "dummy", "--port", "0", "--keys-file", file)
    file.chmod(0o600)
    unknown = run("serve", "dummy", "--port", "0", "--keys-file", file)
    assert (others.returncode, unknown.returncode) == (2, 2)
    assert "other users may write it" in others.stderr
    assert f"{file}, line 1: unknown role; expected read, write, admin" in unknown.stderr
    assert "a" * 64 not in unknown.stderr


def test_a_caller_who_asks_too_much_is_told_when_to_come_back(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    slow = run("keys", "new", "slow", "--rate", "50", "--burst", "170", "--file", file).stdout.strip()
    other = make_key(file, "other", "read")
    question = pictures.jpeg(), "what is it?"
    with (
        ServerProcess(tmp_path, "dummy", "--keys-file", str(file)) as server,
        Client(server.url, api_key=slow, retries=None) as client,
        Client(server.url, api_key=other) as beside,
    ):
        assert client.vqa(*question).answers
        with pytest.raises(CapacityError) as caught:
            client.vqa(*question)
        assert beside.vqa(*question).answers
        error = caught.value
        assert (error.kind, error.status) == ("rate_limited", 429)
        assert error.retry_after_s is not None
        assert error.retry_after_s > 1
        # Whoever waits as long as it is told is let in, for nothing but time fills a bucket.
        time.sleep(error.retry_after_s)
        assert client.vqa(*question).answers


def test_the_access_log_goes_on_in_a_new_file_when_the_old_one_is_moved_away(tmp_path: Path) -> None:
    file, old = tmp_path / "access.log", tmp_path / "access.log.1"
    arguments = ("--access-log", "--log-level", "error", "--set", f"log.access_file={file}")
    with ServerProcess(tmp_path, "dummy", *arguments) as server:
        for number in range(2):
            httpx.get(f"{server.url}/livez", headers={"X-Request-Id": f"r{number}"}, trust_env=False)
            end = time.monotonic() + REFUSED_WITHIN_S
            while not file.exists() or f"r{number}" not in file.read_text():
                assert time.monotonic() < end, server.log
            if not number:
                file.rename(old)
        server.terminate()
        assert server.exit_code() == 0
        log = server.log
    ids = [[json.loads(line)["request_id"] for line in one.read_text().splitlines()] for one in (old, file)]
    assert ids == [["r0"], ["r1"]]
    assert "request_id" not in log


def test_lines_that_wait_are_written_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    with ServerProcess(tmp_path, "dummy", "--access-log", "--set", f"log.access_file={file}") as server:
        client = httpx.Client(base_url=server.url, trust_env=False)
        with client:
            for _ in range(200):
                client.get("/livez")
        server.terminate()
        assert server.exit_code() == 0
    assert len(file.read_text().splitlines()) == 200
