"""The service Models, and health: calls -> messages, messages -> bodies as the HTTP API has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlp_proto.vlp.v1 import models_pb2 as messages

from vlp_client.calls import Call
from vlp_client.grpc_wire.content import given
from vlp_client.grpc_wire.rpc import Rpc

_SERVICE = "/vlp.v1.Models"
# grpc.health.v1 in bytes, for which no package is needed: no name of a service, and the field 1 (status) SERVING.
_SERVING = b"\x08\x01"


class HealthRequest:
    """The message HealthCheckRequest about the whole server."""

    def SerializeToString(self) -> bytes:
        """No field is set."""
        return b""


class HealthResponse:
    """The message HealthCheckResponse.

    Args:
        content: its bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.is_serving = content == _SERVING

    @classmethod
    def FromString(cls, content: bytes) -> HealthResponse:
        """Read one."""
        return cls(content)


def _model(message: Any) -> dict[str, Any]:
    return {
        "id": message.id,
        "name": message.name,
        "version": given(message, "version"),
        "family": message.family or None,
        "tasks": list(message.tasks),
        "precision": message.precision or None,
        "limits": dict(message.limits),
        "state": _name(messages.ModelState, message.state),
        "reason": message.reason,
        "default": message.default,
    }


def _limits(message: Any) -> dict[str, int]:
    """Those that the server tells."""
    return {field.name: value for field, value in message.ListFields()}


def _versions_body(message: Any, _: Call[Any]) -> Any:
    found = [
        {
            "name": one.name,
            "version": given(one, "version"),
            "state": _name(messages.VersionState, one.state),
            "reason": one.reason,
            "current": one.current,
            "previous": one.previous,
            "requests": one.requests,
        }
        for one in message.versions
    ]
    return {"models": found}


def _name(enum: Any, number: int) -> str:
    """VERSION_STATE_ON_DISK -> on_disk."""
    return str(enum.Name(number)).partition("_STATE_")[2].lower()


def _changing(message: Any) -> Callable[[Call[Any]], Any]:
    return lambda call: message(name=call.name, **call.fields)


def _rpc(method: str, encode: Callable[[Call[Any]], Any], decode: Callable[[Any, Call[Any]], Any]) -> Rpc:
    return Rpc(f"{_SERVICE}/{method}", encode, getattr(messages, f"{method}Response"), decode)


MODEL_RPCS: Mapping[str, Rpc] = {
    "models": _rpc(
        "ListModels",
        lambda _: messages.ListModelsRequest(),
        lambda got, _: {"data": list(map(_model, got.models)), "request_limits": _limits(got.request_limits)},
    ),
    "model_versions": _rpc("ListVersions", lambda _: messages.ListVersionsRequest(), _versions_body),
    "load_model": _rpc("LoadModel", _changing(messages.LoadModelRequest), _versions_body),
    "switch_model": _rpc("SwitchModel", _changing(messages.SwitchModelRequest), _versions_body),
    "rollback_model": _rpc("RollBackModel", _changing(messages.RollBackModelRequest), _versions_body),
    "unload_model": _rpc("UnloadModel", _changing(messages.UnloadModelRequest), _versions_body),
    "ready": Rpc(
        "/grpc.health.v1.Health/Check", lambda _: HealthRequest(), HealthResponse, lambda got, _: got.is_serving
    ),
}
