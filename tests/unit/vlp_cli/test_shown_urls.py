from __future__ import annotations

import functools

import httpx
import pytest
from click.testing import CliRunner
from vlp_cli import server_url
from vlp_cli.main import cli
from vlp_cli.shown_urls import without_secrets
from vlp_client import Client


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:9/v1/models: refused", "http://127.0.0.1:9/v1/models: refused"),
        ("http://h:9: refused", "http://h:9: refused"),
        ("http://h/a?token=s3cret: refused", "http://h/a: refused"),
        ("'grpc://u:s3cret@h:1': expected http://, https://", "'grpc://h:1': expected http://, https://"),
        ("a.jpg, HTTPS://u:s3c,ret@h/b.jpg", "a.jpg, HTTPS://h/b.jpg"),
        ("no such file", "no such file"),
    ],
)
def test_a_message_keeps_what_is_no_secret(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "http://u:s3cret@pictures/a.jpg?token=s3cret", "what?", "--fetch"),
        ("ask", "http://u:p@pictures:s3cret/a.jpg", "what?", "--fetch"),
        ("embed", "a dog", "--url", "http://u:s3cret@server"),
        ("embed", "a dog", "--url", "http://server/?token=s3cret"),
        ("models", "--url", "grpc://u:s3cret@server:1"),
        ("embed", "a dog", "--url", "http://u:s3cret"),
        ("bench", "--url", "http://u:s3cret@server"),
        ("bench", "--url", "grpc://u:s3cret@server"),
    ],
)
def test_no_failure_shows_a_secret_of_a_url(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport = httpx.MockTransport(refuse)
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=transport))
    monkeypatch.setattr(httpx, "Client", functools.partial(httpx.Client, transport=transport))
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code in (2, 3)
    assert done.stderr
    assert "s3cret" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "\udcff"),
        ("match", "http://a/b.jpg", "\udcff"),
        ("ask", "http://a/\udcff", "q", "--fetch"),
        ("embed", "a dog", "--url", "http://\udcff"),
    ],
)
def test_what_is_no_text_is_told(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404))
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=transport))
    monkeypatch.setattr(httpx, "Client", functools.partial(httpx.Client, transport=transport))
    done = CliRunner().invoke(cli, arguments, input=b"\x89PNG")
    assert done.exit_code == 2
    assert "UTF-8" in done.stderr or "no address" in done.stderr
