from __future__ import annotations

import ssl

import pytest
from picture_site import CERTIFICATE, count_nothing, fetcher, ok, redirect, site
from vlp_server.config import UrlFetchConfig
from vlp_server.intake.fetch import UrlFetcher, is_public_address
from vlp_spec.errors import InvalidArgumentError, TooLargeError, VlpError


async def test_a_picture_is_fetched_from_the_checked_address_under_its_own_name() -> None:
    async with site(lambda host, path: ok(b"picture")) as (port, seen):
        assert await fetcher(port).fetch(f"http://pictures.example:{port}/a.jpg?b=c", count_nothing) == b"picture"
    assert seen == [f"pictures.example:{port}/a.jpg?b=c"]


async def test_a_name_is_resolved_in_the_form_that_goes_on_the_wire() -> None:
    async with site(lambda host, path: ok(b"picture")) as (port, seen):
        for spelling in ("b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example"):
            assert await fetcher(port).fetch(f"http://{spelling}:{port}/", count_nothing) == b"picture"
    assert set(seen) == {f"xn--bcher-kva.example:{port}/"}


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_the_certificate_is_checked_against_the_name_though_the_connection_goes_to_the_address(
    server_tls: ssl.SSLContext,
) -> None:
    asked: list[str | None] = []
    server_tls.sni_callback = lambda connection, name, context: asked.append(name)
    ours = ssl.create_default_context(cafile=str(CERTIFICATE))
    async with site(lambda host, path: ok(b"picture"), server_tls) as (port, seen):
        for host in ("pictures.example", "b\u00fccher.example"):
            assert await fetcher(port, ours).fetch(f"https://{host}:{port}/", count_nothing) == b"picture"
        with pytest.raises(InvalidArgumentError, match="could not be fetched"):
            await fetcher(port, ours).fetch(f"https://elsewhere.example:{port}/", count_nothing)
    assert asked == ["pictures.example", "xn--bcher-kva.example", "elsewhere.example"]
    assert len(seen) == 2


async def test_a_certificate_of_nobody_known_is_refused(server_tls: ssl.SSLContext) -> None:
    async with site(lambda host, path: ok(b"picture"), server_tls) as (port, seen):
        with pytest.raises(InvalidArgumentError, match="could not be fetched"):
            await fetcher(port).fetch(f"https://pictures.example:{port}/", count_nothing)
    assert seen == []


async def test_redirects_are_followed_and_every_hop_is_checked() -> None:
    def answer(host: str, path: str) -> bytes:
        return {"/a": redirect("/b"), "/b": ok(b"b"), "/in": redirect(f"http://inside.example:{port}/secret")}[path]

    async with site(answer) as (port, seen):
        assert await fetcher(port).fetch(f"http://pictures.example:{port}/a", count_nothing) == b"b"
        with pytest.raises(InvalidArgumentError, match="inside.example' has an address that is not public"):
            await fetcher(port).fetch(f"http://pictures.example:{port}/in", count_nothing)
    assert [entry.partition("/")[2] for entry in seen] == ["a", "b", "in"]


async def test_too_many_redirects() -> None:
    async with site(lambda host, path: redirect("/again")) as (port, seen):
        with pytest.raises(InvalidArgumentError, match="more than 3 redirects"):
            await fetcher(port).fetch(f"http://pictures.example:{port}/", count_nothing)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://inside.example:{port}/", "not public"),
        ("http://both.example:{port}/", "not public"),
        ("http://unknown.example:{port}/", "has no address"),
        ("http://pictures.example:1/", "port 1 is not fetched from"),
        ("https://pictures.example/", "port 443 is not fetched from"),
        ("http://user:word@pictures.example:{port}/", "user or password"),
        ("ftp://pictures.example:{port}/", "only http and https"),
        ("http:///a", "only http and https|not a URL"),
        ("http://[::1/", "not a URL"),
    ],
)
async def test_urls_that_are_refused_without_a_connection(url: str, message: str) -> None:
    async with site(lambda host, path: ok(b"x")) as (port, seen):
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            await fetcher(port).fetch(url.format(port=port), count_nothing)
    assert caught.value.field == "image"
    assert seen == []


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", InvalidArgumentError, "status 404"),
        (ok(b"x" * 101), TooLargeError, "more than 100 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000, TooLargeError, "more than 100 bytes"),
        (b"not http at all\r\n\r\n", InvalidArgumentError, "could not be fetched"),
        (redirect("http://[::1/"), InvalidArgumentError, "could not be fetched|not a URL"),
        (redirect("file:///etc/passwd"), InvalidArgumentError, "only http and https"),
        (None, InvalidArgumentError, "did not answer within"),
    ],
)
async def test_replies_that_give_no_picture(reply: bytes | None, kind: type[VlpError], message: str) -> None:
    async with site(lambda host, path: reply) as (port, _):
        with pytest.raises(kind, match=message):
            await fetcher(port, max_bytes=100, timeout_s=0.3).fetch(f"http://pictures.example:{port}/", count_nothing)


async def test_compressed_content_is_not_unpacked() -> None:
    async with site(lambda host, path: ok(b"\x1f\x8b raw", "Content-Encoding: gzip\r\n")) as (port, _):
        assert await fetcher(port).fetch(f"http://pictures.example:{port}/", count_nothing) == b"\x1f\x8b raw"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fec0::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "192.88.99.1",
        "::ffff:192.88.99.1",
        "2002:c058:6301::",
        "5f00::1",
        "4000::1",
        "::93.184.216.34",
        "100::1",
        "2001:20::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert is_public_address(address) is False


@pytest.mark.parametrize(
    "address",
    ["192.88.98.1", "3ffe::1", "93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"],
)
def test_public_addresses(address: str) -> None:
    assert is_public_address(address) is True


async def test_names_that_are_odd_spellings_of_this_machine_resolve_to_it_and_are_refused() -> None:
    config = UrlFetchConfig(enabled=True)
    for host in ("2130706433", "127.1", "0x7f.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.1"):
        with pytest.raises(InvalidArgumentError, match="not public|has no address|not a URL"):
            await UrlFetcher(config).fetch(f"http://{host}/", count_nothing)
