from __future__ import annotations

import functools
import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from vlp_cli import server_url
from vlp_cli.main import cli
from vlp_cli.server_url import AskedServer
from vlp_client import Client

COMMANDS = [
    ("ask", "-", "what?"),
    ("caption", "-"),
    ("collections", "list"),
    ("collections", "drop", "pets", "--yes"),
    ("bench",),
    ("classify", "-", "a dog", "a cat"),
    ("embed", "a dog"),
    ("entail", "-", "a dog"),
    ("ground", "-", "the dog"),
    ("index", "pets", "."),
    ("match", "-", "a dog"),
    ("models", "--url", "http://server"),
    ("reason", "-", "https://example.org/a.jpg", "both"),
    ("regions", "-"),
    ("search", "pets", "a dog"),
]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The Authorization of every request that the commands made; each is refused."""
    found: list[str | None] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        found.append(request.headers.get("Authorization"))
        problem = {"kind": "permission_denied", "detail": "not with this key", "status": 403}
        return httpx.Response(403, content=json.dumps(problem))

    made = functools.partial(Client, transport=httpx.MockTransport(refuse))
    monkeypatch.setattr(server_url, "Client", made)
    monkeypatch.delenv("VLPSERVE_API_KEY", raising=False)
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_every_command_that_asks_sends_its_key(
    command: tuple[str, ...], sent: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    run = functools.partial(CliRunner().invoke, cli, input=b"\x89PNG")
    without = run(command)
    by_option = run([*command, "--api-key", "vlp_option"])
    monkeypatch.setenv("VLPSERVE_API_KEY", "vlp_variable")
    by_variable = run(command)
    by_both = run([*command, "--api-key", "vlp_option"])
    (tmp_path / "key").write_text("vlp_file\n")
    by_file = run([*command, "--api-key-file", "key"])
    assert sent == [None, "Bearer vlp_option", "Bearer vlp_variable", "Bearer vlp_option", "Bearer vlp_file"]
    for done in (without, by_option, by_variable, by_both, by_file):
        assert (done.exit_code, done.stderr) == (1, "Error: permission_denied: not with this key\n")


def test_what_cannot_be_a_key_is_told_without_it(sent: list[str | None]) -> None:
    done = CliRunner().invoke(cli, ["collections", "list", "--api-key", "my secret"])
    assert done.exit_code == 2
    assert "the API key: expected visible ASCII characters" in done.stderr
    assert "my secret" not in done.output
    assert sent == []


def test_a_key_is_not_in_what_python_shows() -> None:
    assert "vlp_x" not in repr(AskedServer("http://server", "vlp_x"))
