from __future__ import annotations

import pytest
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.config.settings import GrpcConfig
from vlp_spec.errors import ConfigError


@pytest.mark.parametrize(
    ("http_port", "grpc_port", "expected"), [(8080, None, 8081), (0, None, 0), (0, 9000, 9000), (9000, 0, 0)]
)
def test_the_port_lies_beside_that_of_http_unless_it_is_named(
    http_port: int, grpc_port: int | None, expected: int
) -> None:
    config = ServerConfig(http=HttpConfig(port=http_port), grpc=GrpcConfig(port=grpc_port))
    assert config.grpc_port == expected


def test_there_is_no_port_after_the_last() -> None:
    with pytest.raises(ConfigError, match=r"grpc\.port"):
        ServerConfig(http=HttpConfig(port=65535))
    assert ServerConfig(http=HttpConfig(port=65535), grpc=GrpcConfig(enabled=False)).http.port == 65535


@pytest.mark.parametrize(
    "fields",
    [
        {"host": ""},
        {"port": -1},
        {"max_message_bytes": 1},
        {"keep_alive_s": 0},
        {"max_connections": 0},
        {"idle_timeout_s": 0.5},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        GrpcConfig(**fields)  # type: ignore[arg-type]
