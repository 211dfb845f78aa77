"""vlp.v1.Models: what is served, and changing it while requests run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vlp_proto.vlp.v1 import models_pb2
from vlp_spec.errors import InvalidArgumentError

from vlp_server.core.records import ModelCard
from vlp_server.core.records import ModelVersion as VersionRecord
from vlp_server.grpc.call import Call
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.rpc import Method, Unary

_pb = models_pb2
_MAX_VERSION = 999_999_999


def model_methods(door: GrpcDoor) -> dict[str, Method]:
    """The methods, by name."""
    management = door.service.management

    async def list_models(_: Call, request: _pb.ListModelsRequest) -> _pb.ListModelsResponse:
        return _pb.ListModelsResponse(
            models=[_model(card) for card in door.service.models()], request_limits=_limits(door)
        )

    async def list_versions(_: Call, request: _pb.ListVersionsRequest) -> _pb.ListVersionsResponse:
        return _pb.ListVersionsResponse(versions=_versions(await management.versions()))

    async def load(call: Call, request: _pb.LoadModelRequest) -> _pb.LoadModelResponse:
        _check(request.name, request.version)
        found = await management.load(request.name, request.version, deadline=_deadline(door, call))
        return _pb.LoadModelResponse(versions=_versions(found))

    async def switch(_: Call, request: _pb.SwitchModelRequest) -> _pb.SwitchModelResponse:
        _check(request.name, request.version)
        return _pb.SwitchModelResponse(versions=_versions(await management.switch(request.name, request.version)))

    async def roll_back(_: Call, request: _pb.RollBackModelRequest) -> _pb.RollBackModelResponse:
        _check(request.name)
        return _pb.RollBackModelResponse(versions=_versions(await management.rollback(request.name)))

    async def unload(call: Call, request: _pb.UnloadModelRequest) -> _pb.UnloadModelResponse:
        _check(request.name, request.version)
        found = await management.unload(
            request.name, request.version, force=request.force, deadline=_deadline(door, call)
        )
        return _pb.UnloadModelResponse(versions=_versions(found))

    return {
        "ListModels": Unary(_pb.ListModelsRequest, list_models),
        "ListVersions": Unary(_pb.ListVersionsRequest, list_versions),
        "LoadModel": Unary(_pb.LoadModelRequest, load),
        "SwitchModel": Unary(_pb.SwitchModelRequest, switch),
        "RollBackModel": Unary(_pb.RollBackModelRequest, roll_back),
        "UnloadModel": Unary(_pb.UnloadModelRequest, unload),
    }


def _check(name: str, version: int = 1) -> None:
    if not name.strip():
        raise InvalidArgumentError("name: empty; name a model", field="name")
    if not 1 <= version <= _MAX_VERSION:
        raise InvalidArgumentError(f"version: got {version}, expected 1 to {_MAX_VERSION}", field="version")


def _deadline(door: GrpcDoor, call: Call) -> float:
    """Loading takes longer than answering, and goes on after its caller's deadline."""
    return call.record.started + door.config.http.admin_timeout_s if call.ends is None else call.ends


def _model(card: ModelCard) -> _pb.Model:
    return _pb.Model(
        id=card.name if card.version is None else f"{card.name}@{card.version}",
        name=card.name,
        version=card.version,
        family=card.family or "",
        tasks=[str(task) for task in card.tasks],
        precision=card.precision or "",
        limits=dict(card.limits),
        state=_pb.ModelState.Value(f"MODEL_STATE_{card.state.name}"),
        reason=card.reason,
        default=card.default,
        default_for=[str(task) for task in card.default_for],
        created=int(datetime.fromisoformat(card.created).timestamp()) if card.created else 0,
    )


def _versions(versions: Sequence[VersionRecord]) -> list[_pb.ModelVersion]:
    return [
        _pb.ModelVersion(
            name=one.name,
            version=one.version,
            state=_pb.VersionState.Value(f"VERSION_STATE_{one.state.name}"),
            reason=one.reason,
            current=one.current,
            previous=one.previous,
            requests=one.requests,
        )
        for one in versions
    ]


def _limits(door: GrpcDoor) -> _pb.RequestLimits:
    config, limits = door.config, door.config.limits
    return _pb.RequestLimits(
        message_bytes=config.grpc.max_message_bytes,
        image_bytes=config.core.max_image_bytes,
        questions=limits.questions,
        question_chars=limits.question_chars,
        answers=limits.answers,
        answer_chars=limits.answer_chars,
        labels=limits.labels,
        label_chars=limits.label_chars,
        templates=limits.templates,
        texts=limits.texts,
        text_chars=limits.text_chars,
        regions=limits.regions,
        inputs=limits.inputs,
        items=config.store.max_items_per_call,
        request_timeout_ms=int(config.http.max_request_timeout_s * 1000),
    )
