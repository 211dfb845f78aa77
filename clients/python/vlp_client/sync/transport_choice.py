# Made from vlp_client/aio/transport_choice.py by clients/python/write_sync_client.py: change it there.
"""An address -> the transport that reaches it."""

from __future__ import annotations

import httpx

from vlp_client.address import Address, Tls
from vlp_client.sync.http_transport import HttpTransport
from vlp_client.sync.transport import Transport


def open_transport(
    address: Address,
    *,
    api_key: str | None,
    tls: Tls | None,
    connect_s: float,
    connections: int,
    transport: httpx.BaseTransport | None,
) -> Transport:
    """Open a transport; nothing is sent yet. Arguments and errors as `Client`, and how long a connection
    may take, which HTTP is told call by call.
    """
    if not address.is_grpc:
        return HttpTransport(address, api_key=api_key, tls=tls, connections=connections, transport=transport)
    try:
        from vlp_client.sync.grpc_transport import GrpcTransport
    except ImportError as error:
        raise ImportError(f"{address.url}: gRPC needs more packages: pip install 'vlpserve-client[grpc]'") from error
    return GrpcTransport(address, api_key=api_key, tls=tls, connect_s=connect_s)
