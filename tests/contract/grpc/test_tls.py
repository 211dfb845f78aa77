"""TLS and mutual TLS by configuration, with certificates of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from grpc_rig import open_grpc, picture_of
from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_server.config import ServerConfig
from vlp_server.config.settings import GrpcConfig
from vlp_server.grpc.server import GrpcServer
from vlp_spec.errors import ConfigError

REQUEST = vision_language_pb2.VqaRequest(picture=picture_of(b"picture"), questions=["a"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls") / "one")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls") / "two")


def serving(authority: Authority, **more: Any) -> ServerConfig:
    certificate, key = authority.sign("server")
    return ServerConfig(grpc=GrpcConfig(tls_certificate=certificate, tls_key=key, **more))


def trusting(authority: Authority, client: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    root = authority.certificate.read_bytes()
    if client is None:
        return grpc.ssl_channel_credentials(root)
    return grpc.ssl_channel_credentials(root, client[1].read_bytes(), client[0].read_bytes())


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_calls_are_answered_over_tls_alone(scripted: Any, authority: Authority) -> None:
    async with open_grpc(scripted, serving(authority), credentials=trusting(authority)) as rig:
        assert (await rig.vision.Vqa(REQUEST)).model == "scripted@1"
        async with grpc.aio.insecure_channel(rig.address) as plain:
            call = plain.unary_unary("/vlp.v1.VisionLanguage/Vqa")(REQUEST.SerializeToString(), timeout=20)
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_a_client_does_not_trust_another_authority(
    scripted: Any, authority: Authority, stranger: Authority
) -> None:
    async with open_grpc(scripted, serving(authority), credentials=trusting(stranger)) as rig:
        assert await code_of(rig.vision.Vqa(REQUEST, timeout=20)) is grpc.StatusCode.UNAVAILABLE
    assert scripted.calls == []


async def test_mutual_tls_lets_in_those_of_the_authority_alone(
    scripted: Any, authority: Authority, stranger: Authority
) -> None:
    config = serving(authority, tls_client_ca=authority.certificate)
    known = trusting(authority, authority.sign("client"))
    async with open_grpc(scripted, config, credentials=known) as rig:
        assert (await rig.vision.Vqa(REQUEST)).model == "scripted@1"
        for credentials in (trusting(authority), trusting(authority, stranger.sign("client"))):
            options = (("grpc.ssl_target_name_override", "localhost"),)
            async with grpc.aio.secure_channel(rig.address, credentials, options=options) as channel:
                call = channel.unary_unary("/vlp.v1.VisionLanguage/Vqa")(REQUEST.SerializeToString(), timeout=20)
                assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
    assert len(scripted.calls) == 1


async def test_files_that_cannot_be_used_are_told(scripted: Any, tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.sign("server")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    missing = GrpcConfig(port=0, tls_certificate=tmp_path / "a", tls_key=key)
    with pytest.raises(ConfigError, match=r"grpc\.tls_certificate: cannot read"):
        await GrpcServer(scripted, ServerConfig(grpc=missing)).start()
    wrong = GrpcConfig(port=0, tls_certificate=certificate, tls_key=nonsense)
    with pytest.raises(ConfigError, match=r"grpc\.tls_key: .* is no PEM file"):
        await GrpcServer(type(scripted)(), ServerConfig(grpc=wrong)).start()


def test_half_a_configuration_of_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TLS needs both"):
        GrpcConfig(tls_certificate=tmp_path / "a.pem")
    with pytest.raises(ConfigError, match="tls_client_ca"):
        GrpcConfig(tls_client_ca=tmp_path / "a.pem")
