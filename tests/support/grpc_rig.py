"""The gRPC door on a real socket of the loopback, over whatever service a test has, with stubs of its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from vlp_proto.vlp.v1 import collections_pb2_grpc, content_pb2, models_pb2_grpc, vision_language_pb2_grpc
from vlp_server.config import ServerConfig
from vlp_server.grpc.server import GrpcServer

ALL_MODELS = (
    "dummy",
    "dummy-encoder",
    "dummy-matcher",
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-captioner",
    "dummy-extractor",
    "dummy-reader",
)


@dataclass(frozen=True, slots=True)
class Rig:
    """A server that listens, a channel to it, and its stubs."""

    server: GrpcServer
    channel: grpc.aio.Channel

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def vision(self) -> Any:
        return vision_language_pb2_grpc.VisionLanguageStub(self.channel)

    @property
    def collections(self) -> Any:
        return collections_pb2_grpc.CollectionsStub(self.channel)

    @property
    def models(self) -> Any:
        return models_pb2_grpc.ModelsStub(self.channel)

    @property
    def health(self) -> Any:
        return health_pb2_grpc.HealthStub(self.channel)


def on_free_port(config: ServerConfig) -> ServerConfig:
    return replace(config, grpc=replace(config.grpc, port=0))


@asynccontextmanager
async def open_grpc(
    service: Any, config: ServerConfig | None = None, *, credentials: Any = None, **options: Any
) -> AsyncIterator[Rig]:
    """Listens inside.

    Args:
        service: started and closed by the caller.
        config: its port does not count.
        credentials: of the client's channel; None: no TLS.
        options: of the server.
    """
    server = GrpcServer(service, on_free_port(config or ServerConfig()), **options)
    await server.start()
    address = f"127.0.0.1:{server.port}"
    name = (("grpc.ssl_target_name_override", "localhost"),)
    if credentials is None:
        channel = grpc.aio.insecure_channel(address)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=name)
    try:
        async with channel:
            yield Rig(server, channel)
    finally:
        await server.stop(0.0)


def picture_of(content: bytes) -> content_pb2.Picture:
    return content_pb2.Picture(content=content)


def trailing(source: Any) -> dict[str, str]:
    """Trailing metadata of an error."""
    return dict(source.trailing_metadata())
