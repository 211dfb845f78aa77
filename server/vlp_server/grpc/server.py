"""The gRPC server of a process: bind, serve, and drain. It has the event loop of whoever starts it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from vlp_spec.errors import ConfigError

from vlp_server.config.server import ServerConfig
from vlp_server.config.settings import GrpcConfig
from vlp_server.grpc.call import VISION_LANGUAGE
from vlp_server.grpc.captions import caption_methods
from vlp_server.grpc.collections import collection_methods
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.health import COLLECTIONS, HEALTH_SERVICE, MODELS, Health
from vlp_server.grpc.keyless import KeylessCalls
from vlp_server.grpc.models import model_methods
from vlp_server.grpc.oip_gate import OipGate
from vlp_server.grpc.oip_health import oip_health_handler
from vlp_server.grpc.questions import question_methods
from vlp_server.grpc.reflection import add_reflection
from vlp_server.grpc.rpc import service_handler
from vlp_server.grpc.unknown import UnknownMethods
from vlp_server.grpc.vectors import vector_methods
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.intake.shared import Shared
from vlp_server.oip.grpc_messages import SERVICE
from vlp_server.oip.grpc_service import add_inference_service
from vlp_server.oip.inference import OpenInference

if TYPE_CHECKING:
    from vlp_server.core.service import Service

logger = logging.getLogger(__name__)
# Health and reflection answer beside as many calls as there may be, and so many are being refused.
_SPARE_CALLS = 256
# For TLS and the first frame of a connection.
_HANDSHAKE_MS = 10_000
# For answers that are on their way, and so long at most for who only watches.
_LAST_WORDS_S = 1.0


class GrpcServer:
    """One gRPC server of a service; belongs to the event loop that starts it.

    Args:
        service: started and closed by whoever made it.
        config: the whole configuration.
        shared: with the other doors of the process; None makes it from the configuration.
        fetcher: in place of the one that the configuration makes.
        oip: the Open Inference Protocol, the same one as the other doors have; None: it is not served here.

    Attributes:
        door: what its methods share.
    """

    def __init__(
        self,
        service: Service,
        config: ServerConfig,
        shared: Shared | None = None,
        *,
        fetcher: UrlFetcher | None = None,
        oip: OpenInference | None = None,
    ) -> None:
        self._oip = oip
        self._config = config
        self.door = GrpcDoor(service, config, shared, fetcher)
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def host(self) -> str:
        """The address that is listened on."""
        return self._config.grpc.host

    @property
    def _is_local(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    async def start(self) -> None:
        """Listen and answer; `port` is then the one that is listened on.

        Raises:
            ConfigError: the address cannot be listened on, or a file of TLS cannot be used.
        """
        credentials = _credentials(self._config.grpc)
        server = grpc.aio.server(
            options=_options(self._config.grpc),
            maximum_concurrent_rpcs=self._config.http.max_in_flight + _SPARE_CALLS,
        )
        door = self.door
        services = {
            VISION_LANGUAGE: {**question_methods(door), **caption_methods(door), **vector_methods(door)},
            COLLECTIONS: collection_methods(door),
            MODELS: model_methods(door),
        }
        server.add_generic_rpc_handlers([service_handler(door, name, methods) for name, methods in services.items()])
        others: tuple[str, ...] = ()
        keyless = KeylessCalls()
        if self._oip is not None:
            server.add_generic_rpc_handlers((oip_health_handler(door, self._oip, keyless),))
            add_inference_service(server, self._oip, OipGate(door))
            others = (SERVICE,)
        server.add_generic_rpc_handlers((Health(door, keyless, others).handler(),))
        if self._config.grpc.reflection:
            add_reflection(server, [*services, *others, HEALTH_SERVICE])
        server.add_generic_rpc_handlers((UnknownMethods(door),))
        self.port = self._bind(server, credentials)
        await server.start()
        self._server = server
        logger.info("gRPC listens on %s port %d", self.host, self.port)
        if not self._config.access.asks_for_keys and self._config.grpc.tls_client_ca is None and not self._is_local:
            logger.warning("whoever reaches %s may ask this server over gRPC; see docs/access.md", self.host)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones end for so long, then cancel them. May be called twice."""
        self.door.room.closing = True
        if self._server is None:
            return
        # While calls run the door itself refuses new ones, with a status that tells to ask another server; the library
        # would answer some of them as cancelled.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.door.in_flight.drained()
        await self._server.stop(min(grace_s, _LAST_WORDS_S))

    def _bind(self, server: grpc.aio.Server, credentials: grpc.ServerCredentials | None) -> int:
        host, port = self._config.grpc.host, self._config.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                return int(server.add_insecure_port(address))
            return int(server.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise ConfigError(
                [
                    f"grpc.host, grpc.port: cannot listen on {host} port {port}; choose another grpc.port, 0 for a "
                    "free one, or turn grpc.enabled off"
                ]
            ) from error


def _options(config: GrpcConfig) -> list[tuple[str, int]]:
    keep_alive_ms = round(config.keep_alive_s * 1000)
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Two servers never share a port by mistake.
        ("grpc.so_reuseport", 0),
        # Each takes a file of the process; those that only connect, or ask nothing more, give it back.
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_connection_idle_ms", round(config.idle_timeout_s * 1000)),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", keep_alive_ms),
        ("grpc.keepalive_timeout_ms", round(config.keep_alive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients may look as often as the server does itself.
        ("grpc.http2.min_ping_interval_without_data_ms", min(10_000, keep_alive_ms)),
    ]


def _credentials(config: GrpcConfig) -> grpc.ServerCredentials | None:
    """TLS as configured; None without a certificate."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    certificate = _read("grpc.tls_certificate", config.tls_certificate)
    key = _read("grpc.tls_key", config.tls_key)
    client_ca = None if config.tls_client_ca is None else _read("grpc.tls_client_ca", config.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def _read(name: str, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{name}: cannot read {path} ({error.strerror})"]) from error
    if b"-----BEGIN " not in content:
        raise ConfigError([f"{name}: {path} is no PEM file"])
    return content
