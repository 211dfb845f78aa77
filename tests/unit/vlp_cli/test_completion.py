from __future__ import annotations

import functools
import threading

import httpx
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from vlp_cli import completion_values, server_url
from vlp_cli.main import COMMANDS, cli
from vlp_client import Client

MODEL = {"family": "vilt", "precision": "fp32", "limits": {}, "state": "ready", "reason": "", "default": True}


def offered(*words: str) -> list[str]:
    *before, incomplete = words
    completion = ShellComplete(cli, {}, "vlpserve", "_VLPSERVE_COMPLETE")
    return [item.value for item in completion.get_completions(list(before), incomplete)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """What was asked of a server with two models and a collection."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/v1/models":
            models = [
                {"id": f"{name}@1", "name": name, "version": 1, "tasks": ["vqa"], **MODEL} for name in ("ab", "b")
            ]
            return httpx.Response(200, json={"data": models})
        info = {"name": "pets", "model": "m@1", "encoder": "e", "dimension": 2, "metric": "cosine"}
        more = {"store_images": True, "items": 1, "created": 0}
        return httpx.Response(200, json={"collections": [info | more]})

    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=httpx.MockTransport(answer)))
    return seen


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert "_VLPSERVE_COMPLETE" in done.stdout
    assert "vlpserve" in done.stdout


def test_an_unknown_shell_is_a_usage_fault() -> None:
    assert CliRunner().invoke(cli, ["completion", "tcsh"]).exit_code == 2


def test_commands_and_options() -> None:
    assert offered("") == sorted(name for name, entry in COMMANDS.items() if not entry.hidden)
    assert offered("cap") == ["caption"]
    assert "--api-key-file" in offered("ask", "--api")


@pytest.mark.parametrize("command", ["ask", "caption", "entail", "match", "embed", "bench", "index"])
def test_models_come_from_the_server(command: str, asked: list[httpx.Request]) -> None:
    assert offered(command, "--url", "http://server:1", "--api-key", "vlp_x", "--model", "a") == ["ab"]
    assert [str(request.url) for request in asked] == ["http://server:1/v1/models"]
    assert asked[0].headers["Authorization"] == "Bearer vlp_x"


def test_collections_come_from_the_server(asked: list[httpx.Request]) -> None:
    assert offered("search", "p") == ["pets"]
    assert offered("collections", "drop", "x") == []


def test_a_server_that_is_down_is_silent(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert offered("ask", "--url", "http://127.0.0.1:9", "--model", "") == []
    assert offered("ask", "--api-key", "no key", "--model", "") == []
    assert capfd.readouterr() == ("", "")


def test_nobody_waits_for_a_server_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = threading.Event()

    def stall(_: httpx.Request) -> httpx.Response:
        stalled.wait(60)
        return httpx.Response(500)

    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=httpx.MockTransport(stall)))
    monkeypatch.setattr(completion_values, "_PATIENCE_S", 0.05)
    try:
        assert offered("ask", "--model", "") == []
        assert not stalled.is_set()
    finally:
        stalled.set()
