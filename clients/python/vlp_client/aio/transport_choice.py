"""An address -> the transport that reaches it."""

from __future__ import annotations

import httpx

from vlp_client.address import Address, Tls
from vlp_client.aio.http_transport import AsyncHttpTransport
from vlp_client.aio.transport import AsyncTransport


def open_transport(
    address: Address,
    *,
    api_key: str | None,
    tls: Tls | None,
    connect_s: float,
    connections: int,
    transport: httpx.AsyncBaseTransport | None,
) -> AsyncTransport:
    """Open a transport; nothing is sent yet. Arguments and errors as `AsyncClient`, and how long a connection
    may take, which HTTP is told call by call.
    """
    if not address.is_grpc:
        return AsyncHttpTransport(address, api_key=api_key, tls=tls, connections=connections, transport=transport)
    try:
        from vlp_client.aio.grpc_transport import AsyncGrpcTransport
    except ImportError as error:
        raise ImportError(f"{address.url}: gRPC needs more packages: pip install 'vlpserve-client[grpc]'") from error
    return AsyncGrpcTransport(address, api_key=api_key, tls=tls, connect_s=connect_s)
