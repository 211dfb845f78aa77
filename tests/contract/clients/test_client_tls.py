"""grpcs:// and https:// through the SDK: whom each side trusts. The HTTP door has a proxy in front, which ends TLS."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pictures_made as pictures
import pytest
from certificates import Authority
from server_process import ServerProcess
from tls_front import tls_front
from vlp_client import AsyncClient, Client, ConnectError, Tls

WAYS = ("https", "https async", "grpcs", "grpcs async")


@dataclass(frozen=True)
class Site:
    """Addresses by scheme: of servers that anybody may call, and of those that want to know who calls."""

    authority: Authority
    open: dict[str, str]
    closed: dict[str, str]
    plain_grpc: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("tls")
    authority = Authority.make(root / "authority")
    certificate, key = authority.sign("server")
    environment = {"VLPSERVE_GRPC_TLS_CERTIFICATE": str(certificate), "VLPSERVE_GRPC_TLS_KEY": str(key)}
    with ExitStack() as stack:
        folders = [root / name for name in ("open", "closed")]
        for folder in folders:
            folder.mkdir()
        anybody = stack.enter_context(ServerProcess(folders[0], "dummy", "dummy-captioner", **environment))
        environment["VLPSERVE_GRPC_TLS_CLIENT_CA"] = str(authority.certificate)
        known = stack.enter_context(ServerProcess(folders[1], "dummy", "dummy-captioner", **environment))
        addresses = []
        for server in (anybody, known):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            if server is known:
                context.load_verify_locations(authority.certificate)
                context.verify_mode = ssl.CERT_REQUIRED
            front = stack.enter_context(tls_front(server.port, context))
            grpc_port = server.grpc_url.rpartition(":")[2]
            addresses.append({"https": f"https://127.0.0.1:{front}", "grpcs": f"grpcs://localhost:{grpc_port}"})
        yield Site(authority, *addresses, plain_grpc=anybody.grpc_url)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls") / "stranger")


async def get(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def asked(addresses: dict[str, str], way: str, tls: Tls | None) -> str:
    """Who answered a call whose connection is new."""
    url = addresses[way.partition(" ")[0]]
    client: Any = (AsyncClient if way.endswith("async") else Client)(url, tls=tls, retries=None)
    try:
        assert await get(client.ready())
        return str((await get(client.vqa(pictures.png(), "what?", model="dummy"))).model)
    finally:
        await get(client.aclose() if isinstance(client, AsyncClient) else client.close())


def of(authority: Authority, pair: tuple[Path, Path]) -> Tls:
    return Tls(ca_file=authority.certificate, cert_file=pair[0], key_file=pair[1])


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_of_a_trusted_authority_is_asked(site: Site, way: str) -> None:
    assert await asked(site.open, way, Tls(ca_file=site.authority.certificate)) == "dummy@1"


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_nobody_vouches_for_is_told_nothing(site: Site, stranger: Authority, way: str) -> None:
    for tls in (None, Tls(ca_file=stranger.certificate)):
        with pytest.raises(ConnectError) as caught:
            await asked(site.open, way, tls)
        assert caught.value.sent is False
        assert "certificate" in str(caught.value).lower()


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_asks_who_calls_lets_in_its_own_alone(site: Site, stranger: Authority, way: str) -> None:
    known = of(site.authority, site.authority.sign("client"))
    assert await asked(site.closed, way, known) == "dummy@1"
    foreign = Tls(site.authority.certificate, *stranger.sign("client"))
    for tls in (Tls(ca_file=site.authority.certificate), foreign):
        with pytest.raises(ConnectError):
            await asked(site.closed, way, tls)


@pytest.mark.parametrize("way", WAYS)
async def test_words_come_one_by_one_over_tls(site: Site, way: str) -> None:
    url = site.open[way.partition(" ")[0]]
    tls = Tls(ca_file=site.authority.certificate)
    client: Any = (AsyncClient if way.endswith("async") else Client)(url, tls=tls)
    stream = await get(client.stream_caption(pictures.png(), num_beams=1))
    words = [word async for word in stream] if isinstance(client, AsyncClient) else list(stream)
    assert "".join(words) == stream.answer.best
    await get(client.aclose() if isinstance(client, AsyncClient) else client.close())


async def test_a_plain_client_and_a_server_of_tls_do_not_meet(site: Site) -> None:
    for client in (Client(site.plain_grpc, retries=None), AsyncClient(site.plain_grpc, retries=None)):
        with pytest.raises(ConnectError):
            await get(client.vqa(pictures.png(), "what?"))
        await get(client.aclose() if isinstance(client, AsyncClient) else client.close())


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_certificates_that_cannot_be_read_are_told(kind: Any, scheme: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"missing\.pem|No such file"):
        kind(f"{scheme}://localhost:1", tls=Tls(ca_file=tmp_path / "missing.pem"))
    with pytest.raises(ValueError, match="give both, or none"):
        Tls(cert_file=tmp_path / "a.pem")
