from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from vlp_loadtest.look_up import Refused, Unreachable, look_up, server_base

KEY = {"Authorization": "Bearer s3cret"}


class Places(BaseHTTPRequestHandler):
    """A path for each kind of answer."""

    def do_GET(self) -> None:
        keys: list[Any] = self.server.keys  # type: ignore[attr-defined]
        keys.append(self.headers.get("Authorization"))
        status, body = {
            "/good": (200, b'{"data": []}'),
            "/list": (200, b"[]"),
            "/page": (200, b"<html>"),
            "/refused": (403, json.dumps({"kind": "permission\x1b_denied"}).encode()),
        }.get(self.path, (307, b""))
        self.send_response(status)
        if status == 307:
            self.send_header("Location", self.path[1:])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def servers() -> Iterator[list[ThreadingHTTPServer]]:
    """Two; each has the keys that it was shown."""
    both = [ThreadingHTTPServer(("127.0.0.1", 0), Places) for _ in range(2)]
    for one in both:
        one.keys = []  # type: ignore[attr-defined]
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
    yield both
    for one in both:
        one.shutdown()
        one.server_close()


def base_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_a_redirect_is_not_followed_and_the_key_goes_to_no_other_server(servers: list[Any]) -> None:
    with pytest.raises(Refused, match="status_307"):
        look_up(base_of(servers[0]), f"/{base_of(servers[1])}/good", KEY)
    assert (servers[0].keys, servers[1].keys) == (["Bearer s3cret"], [])


def test_what_is_looked_up(servers: list[Any]) -> None:
    base = base_of(servers[0])
    assert look_up(base, "/good", KEY) == {"data": []}
    with pytest.raises(Refused, match="/refused: permission _denied"):
        look_up(base, "/refused", KEY)
    for path in ("/list", "/page"):
        with pytest.raises(Unreachable, match=path):
            look_up(base, path, KEY)
    with pytest.raises(Unreachable, match="is the server up"):
        look_up("http://127.0.0.1:9", "/good", KEY)


@pytest.mark.parametrize("host", ["http://a", "https://a:1/prefix/", "HTTP://[::1]:8080/"])
def test_addresses(host: str) -> None:
    assert server_base(host) == host.rstrip("/")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a:1",
        "ftp://a",
        "http://",
        "http://u:s3cret@a",
        "http://s3cret@a",
        "http://a/?token=s3cret",
        "http://a#s3cret",
        "http://u:s3cret",
        "http://a b",
        "http://a\n",
        "http://[a",
    ],
)
def test_what_is_no_address_is_told_without_its_secrets(host: str) -> None:
    with pytest.raises(ValueError, match="expected http:// or https://") as caught:
        server_base(host)
    assert "s3cret" not in str(caught.value)
