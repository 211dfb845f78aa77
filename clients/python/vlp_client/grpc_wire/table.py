"""Every verb over gRPC, and how a channel is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from vlp_client.address import Address, Tls, is_loopback
from vlp_client.grpc_wire.collections import COLLECTION_RPCS
from vlp_client.grpc_wire.models import MODEL_RPCS
from vlp_client.grpc_wire.rpc import Rpc
from vlp_client.grpc_wire.tasks import TASK_RPCS

RPCS: Mapping[str, Rpc] = {**TASK_RPCS, **COLLECTION_RPCS, **MODEL_RPCS}


def channel_options(address: Address, connect_s: float) -> list[tuple[str, int]]:
    """Options of a channel to a server, whose connections may take so long to be made."""
    host = address.target.rpartition(":")[0] or address.target
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # Sent again is by this client's own policy alone, which a server that comes back must not outwait.
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", max(1, round(1000 * connect_s))),  # so long may an attempt take
        ("grpc.max_reconnect_backoff_ms", 2000),
        # A proxy of the environment cannot reach this machine's own server.
        ("grpc.enable_http_proxy", 0 if is_loopback(host) else 1),
    ]


def credentials(tls: Tls | None) -> Any:
    """Of a channel to grpcs://.

    Raises:
        OSError: a file cannot be read.
    """
    wishes = tls or Tls()
    ca, key, certificate = (
        None if path is None else Path(path).read_bytes()
        for path in (wishes.ca_file, wishes.key_file, wishes.cert_file)
    )
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)
