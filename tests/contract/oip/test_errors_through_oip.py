"""Every error of the tree through both ways of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from dummy_door import dummy_service
from oip_rig import OpenGate
from vlp_server.config import ServerConfig
from vlp_server.config.settings import LimitsConfig
from vlp_server.http.app import create_app
from vlp_server.http.problems import STATUS
from vlp_server.intake.grpc_codes import STATUS as CODES
from vlp_server.oip.grpc_messages import SERVICE, message_class
from vlp_server.oip.grpc_service import add_inference_service
from vlp_server.oip.inference import OpenInference
from vlp_spec import errors
from vlp_spec.errors import CapacityError, ConfigError, ErrorKind, InternalError, StartupError, VlpError


def all_errors(root: type[VlpError] = VlpError) -> Iterator[type[VlpError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


def make_error(kind: type[VlpError]) -> VlpError:
    if issubclass(kind, InternalError):
        return kind(detail="a secret")
    if issubclass(kind, ConfigError):
        return kind(["a secret"])
    return kind("shown" if not issubclass(kind, StartupError) else "a secret", detail="a secret")


class Failing:
    """In the place of a service's models: fails whatever is looked for."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def find(self, name: str, version: str = "") -> Any:
        raise self._error


def failing_service(error: Exception) -> Any:
    service = dummy_service("dummy")
    service.hosted = Failing(error)  # type: ignore[assignment]
    return service


def expected_kind(error: Exception) -> ErrorKind:
    is_ours = not isinstance(error, VlpError) or isinstance(error, StartupError)
    return ErrorKind.INTERNAL if is_ours else error.kind  # type: ignore[attr-defined]


ERRORS = [*map(make_error, all_errors()), RuntimeError("a secret")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_over_http(error: Exception) -> None:
    app = create_app(failing_service(error), ServerConfig())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        response = await client.post("/v2/models/m/infer", json={"inputs": []})
    kind = expected_kind(error)
    assert response.status_code == STATUS[kind]
    assert set(response.json()) == {"error"}
    assert response.json()["error"].startswith(f"{kind}: ")
    assert "secret" not in response.text
    assert ("retry-after" in response.headers) == (response.status_code in (429, 503))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_over_grpc(error: Exception) -> None:
    inference = OpenInference(failing_service(error), LimitsConfig(), version="0", max_timeout_s=60.0)
    server = grpc.aio.server()
    add_inference_service(server, inference, OpenGate())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class("ModelInferResponse").FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(message_class("ModelInferRequest")(model_name="m"))
    await server.stop(None)
    kind = expected_kind(error)
    assert caught.value.code() is CODES[kind]
    assert caught.value.details().startswith(f"{kind}: ")
    assert "secret" not in caught.value.details()
    assert ("retry-after" in dict(caught.value.trailing_metadata())) == isinstance(error, CapacityError)
