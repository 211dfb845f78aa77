"""/v1/admin/models: which versions are served, and which one a name means, while requests run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import Request
from vlp_spec.errors import PermissionDeniedError

from vlp_server.core.records import ModelVersion as VersionRecord
from vlp_server.http.call import Call, let_in
from vlp_server.http.door import Door
from vlp_server.http.fields import StrictFields
from vlp_server.http.json_body import read_json
from vlp_server.http.openapi import json_operation, problem_responses
from vlp_server.http.schemas import ModelVersion, ModelVersions

_LIST = problem_responses(400, 403, 429, 500, 503)
_CHANGE = problem_responses(400, 403, 404, 408, 409, 413, 415, 429, 500, 503, 504)
_Version = Annotated[int, Field(ge=1, le=999_999_999, description="A version of this model.")]


class VersionFields(StrictFields):
    """Which version."""

    version: _Version


class UnloadFields(StrictFields):
    """Which version, and whether it has to be."""

    version: _Version
    force: Annotated[
        bool, Field(description="Also the last version of its name, and one that other served models need.")
    ] = False


class NoFields(StrictFields):
    """Nothing more is to be said. Sent as {} all the same: a web page cannot send JSON here unasked."""


def admin_models_router(door: Door) -> APIRouter:
    """The routes of model management; closed where strangers could reach them."""

    async def check_open() -> None:
        if not door.config.http.admin and not door.config.access.asks_for_keys:
            raise PermissionDeniedError(
                "/v1/admin/ is closed, because this server asks nobody for a key: give it keys (access.keys_file), or "
                "set http.admin where only its operators reach it"
            )

    router = APIRouter(prefix="/v1/admin/models", tags=["admin"], dependencies=[Depends(check_open)])
    _add_list(router, door)
    _add_changes(router, door)
    return router


def _add_list(router: APIRouter, door: Door) -> None:
    @router.get(
        "",
        operation_id="model_versions",
        summary="Every version that is served, or lies in the repositories that are served from",
        responses=_LIST,
    )
    async def model_versions(request: Request) -> ModelVersions:
        with let_in(door, request) as call:
            return _answer(await call.wait(door.service.management.versions()))


def _add_changes(router: APIRouter, door: Door) -> None:
    @router.post(
        "/{name}/load",
        operation_id="load_model",
        summary="Load a version beside what is served; calls reach it by name@version",
        openapi_extra=json_operation(VersionFields),
        responses=_CHANGE,
    )
    async def load_model(name: str, request: Request) -> ModelVersions:
        with let_in(door, request) as call:
            version = (await read_json(request, call.body, VersionFields)).version
            loading = door.service.management.load(name, version, deadline=_deadline(door, call))
            return _answer(await call.wait(loading))

    @router.post(
        "/{name}/switch",
        operation_id="switch_model",
        summary="Let the name mean a served version from now on",
        openapi_extra=json_operation(VersionFields),
        responses=_CHANGE,
    )
    async def switch_model(name: str, request: Request) -> ModelVersions:
        with let_in(door, request) as call:
            version = (await read_json(request, call.body, VersionFields)).version
            return _answer(await call.wait(door.service.management.switch(name, version)))

    @router.post(
        "/{name}/rollback",
        operation_id="roll_back_model",
        summary="Let the name mean what it meant before it was switched",
        openapi_extra=json_operation(NoFields),
        responses=_CHANGE,
    )
    async def roll_back_model(name: str, request: Request) -> ModelVersions:
        with let_in(door, request) as call:
            await read_json(request, call.body, NoFields)
            return _answer(await call.wait(door.service.management.rollback(name)))

    @router.post(
        "/{name}/unload",
        operation_id="unload_model",
        summary="Take a version away once the requests inside have left",
        openapi_extra=json_operation(UnloadFields),
        responses=_CHANGE,
    )
    async def unload_model(name: str, request: Request) -> ModelVersions:
        with let_in(door, request) as call:
            fields = await read_json(request, call.body, UnloadFields)
            unloading = door.service.management.unload(
                name, fields.version, force=fields.force, deadline=_deadline(door, call)
            )
            return _answer(await call.wait(unloading))


def _deadline(door: Door, call: Call) -> float:
    """Loading takes longer than answering, and goes on after its caller's deadline."""
    return call.context.started + door.config.http.admin_timeout_s if call.deadline is None else call.deadline


def _answer(versions: Sequence[VersionRecord]) -> ModelVersions:
    return ModelVersions(
        models=[
            ModelVersion(
                name=one.name,
                version=one.version,
                state=one.state.value,
                reason=one.reason,
                current=one.current,
                previous=one.previous,
                requests=one.requests,
            )
            for one in versions
        ]
    )
