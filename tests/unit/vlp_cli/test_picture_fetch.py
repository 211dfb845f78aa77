from __future__ import annotations

import functools
from collections.abc import Callable

import click
import httpx
import pytest
from vlp_cli import picture_fetch
from vlp_cli.main import CommandFailure
from vlp_cli.picture_argument import read_argument, read_several
from vlp_cli.picture_fetch import fetch_picture

URL = "http://pictures.example/a.jpg"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[httpx.Request], httpx.Response]], None]:
    def serve(handle: Callable[[httpx.Request], httpx.Response]) -> None:
        made = functools.partial(httpx.Client, transport=httpx.MockTransport(handle))
        monkeypatch.setattr(httpx, "Client", made)

    return serve


def test_a_url_is_fetched_here_only_where_that_is_wished_for(
    web: Callable[[Callable[[httpx.Request], httpx.Response]], None],
) -> None:
    web(lambda _: httpx.Response(200, content=b"\xff\xd8picture"))
    assert read_argument(URL) == (URL, {})
    assert read_argument(URL, fetch=True) == (b"\xff\xd8picture", {})
    assert read_several(["a.jpg", URL], fetch=True) == ["a.jpg", b"\xff\xd8picture"]


def test_standard_input_holds_one_picture() -> None:
    with pytest.raises(click.UsageError, match="standard input holds one picture"):
        read_several(["-", "a.jpg", "-"])


def test_redirects_are_followed_and_end(web: Callable[[Callable[[httpx.Request], httpx.Response]], None]) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a.jpg":
            return httpx.Response(302, headers={"Location": "/b.jpg"})
        if request.url.path == "/b.jpg":
            return httpx.Response(200, content=b"b")
        return httpx.Response(302, headers={"Location": "/round"})

    web(handle)
    assert fetch_picture(URL) == b"b"
    with pytest.raises(CommandFailure, match="redirect"):
        fetch_picture("http://pictures.example/round")


def test_what_cannot_be_fetched_is_told(
    web: Callable[[Callable[[httpx.Request], httpx.Response]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no such host", request=request)

    web(lambda _: httpx.Response(404))
    with pytest.raises(CommandFailure, match="a.jpg: status 404"):
        fetch_picture(URL)
    monkeypatch.setattr(picture_fetch, "_MAX_BYTES", 3)
    web(lambda _: httpx.Response(200, content=b"four"))
    with pytest.raises(CommandFailure, match="larger than any picture"):
        fetch_picture(URL)
    web(broken)
    with pytest.raises(CommandFailure, match="no such host"):
        fetch_picture(URL)
