"""/v1/collections: make, fill and search collections of pictures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.errors import ItemNotFoundError, VlpError

from vlp_server.core.call_checks import check_count
from vlp_server.core.collection_records import AddReply, SearchReply
from vlp_server.http.body_forms import IMAGE, BodyForms, Files, Pairs, read_body
from vlp_server.http.call import Call, let_in
from vlp_server.http.collection_fields import (
    IDEMPOTENCY_HEADER,
    SEARCH_CALL,
    CollectionJson,
    ItemsJson,
    LookupJson,
    items_of_form,
    items_of_json,
)
from vlp_server.http.door import Door
from vlp_server.http.held_response import HeldResponse
from vlp_server.http.json_body import read_json
from vlp_server.http.openapi import items_operation, json_operation, picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.problems import problem_of
from vlp_server.http.schemas import (
    AddedItems,
    Collection,
    CollectionIndex,
    CollectionList,
    Deleted,
    Item,
    KnownItems,
    SearchHits,
)
from vlp_server.index.store import CollectionInfo, StoredItem
from vlp_server.intake.new_items import FETCH_SHARE, SentItem, add_sent, items_weight, new_ids
from vlp_server.intake.picture_source import PictureUrl

# Hits of an answer from which on it is written in a thread.
_INLINE_HITS = 200
_READ = problem_responses(400, 404, 429, 500, 503, 504)
_PARTS_OF_AN_ITEM = 3  # picture, id, metadata
_DELETE = problem_responses(400, 404, 429, 500, 503, 504, 507)
_WRITE = problem_responses(400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504, 507)


def collections_router(door: Door) -> APIRouter:
    """The routes of collections."""
    router = APIRouter(prefix="/v1/collections", tags=["collections"])
    _add_collection_routes(router, door)
    _add_items_routes(router, door)
    _add_item_routes(router, door)

    @router.post(
        "/{name}/search",
        operation_id="search",
        summary="Find pictures by words, by a picture, or by a vector",
        openapi_extra=picture_operation(SEARCH_CALL),
        responses={200: {"model": SearchHits, "description": "Hits, best first"}, **_WRITE},
    )
    async def search(name: str, request: Request) -> Response:
        with ExitStack() as held:
            call = held.enter_context(let_in(door, request))
            sent = await read_call(call, SEARCH_CALL, door.config.limits)

            async def find() -> SearchReply:
                picture = await call.picture(sent.images[0]) if sent.images else None
                return await door.service.collections.search(
                    name, replace(sent.ask, picture=picture), deadline=call.deadline
                )

            reply = await call.answer(find())
            inline = len(reply.hits) <= _INLINE_HITS
            body = _hits_body(reply) if inline else await asyncio.to_thread(_hits_body, reply)
            call.take(len(body))
            return HeldResponse(body, held.pop_all(), media_type="application/json")

    return router


def _add_collection_routes(router: APIRouter, door: Door) -> None:
    @router.get("", operation_id="list_collections", summary="List the collections", responses=_READ)
    async def list_collections(request: Request) -> CollectionList:
        with let_in(door, request) as call:
            infos = await call.wait(door.service.collections.all(deadline=call.deadline))
        return CollectionList(collections=[_collection(info) for info in infos])

    @router.put(
        "/{name}",
        operation_id="create_collection",
        summary="Make a collection; the same again changes nothing",
        openapi_extra=json_operation(CollectionJson),
        responses=_WRITE,
    )
    async def create_collection(name: str, request: Request) -> Collection:
        with let_in(door, request) as call:
            fields = await read_json(request, call.body, CollectionJson)
            made = door.service.collections.create(fields.wish(name), deadline=call.deadline)
            return _collection(await call.wait(made))

    @router.get("/{name}", operation_id="collection", summary="A collection as it is now", responses=_READ)
    async def collection(name: str, request: Request) -> Collection:
        with let_in(door, request) as call:
            return _collection(await call.wait(door.service.collections.get(name, deadline=call.deadline)))

    @router.delete("/{name}", operation_id="drop_collection", summary="Forget a collection", responses=_DELETE)
    async def drop_collection(name: str, request: Request) -> Deleted:
        with let_in(door, request) as call:
            await call.wait(door.service.collections.drop(name, deadline=call.deadline))
        return Deleted(id=name)


def _add_items_routes(router: APIRouter, door: Door) -> None:
    @router.post(
        "/{name}/items",
        operation_id="add_items",
        summary="Add pictures or vectors; each has its own result, and what is kept is on disk",
        openapi_extra=items_operation(ItemsJson),
        responses={200: {"model": AddedItems, "description": "One result for each item, in order"}, **_WRITE},
    )
    async def add_items(name: str, request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await _read_items(door, call, name)
            call.charge(items_weight(sent))
            reply = await call.answer(_add(door, call, name, sent))
        return JSONResponse(_added(reply))

    @router.post(
        "/{name}/items/lookup",
        operation_id="lookup_items",
        summary="Which of some ids are there, and with which pictures",
        openapi_extra=json_operation(LookupJson),
        responses=_WRITE,
    )
    async def lookup_items(name: str, request: Request) -> KnownItems:
        with let_in(door, request) as call:
            fields = await read_json(request, call.body, LookupJson)
            check_count("ids", len(fields.ids), door.config.store.max_items_per_call)
            known = await call.wait(door.service.collections.known(name, fields.ids, deadline=call.deadline))
        return KnownItems(known=known)


def _add_item_routes(router: APIRouter, door: Door) -> None:
    @router.get("/{name}/items/{item_id}", operation_id="item", summary="An item", responses=_READ)
    async def item(name: str, item_id: str, request: Request) -> Item:
        with let_in(door, request) as call:
            return _item(await call.wait(door.service.collections.get_item(name, item_id, deadline=call.deadline)))

    @router.get(
        "/{name}/items/{item_id}/image",
        operation_id="item_image",
        summary="An item's picture",
        response_class=Response,
        responses={
            200: {"content": {"application/octet-stream": {}}, "description": "The file as it was sent"},
            **problem_responses(400, 404, 409, 429, 500, 503, 504),
        },
    )
    async def item_image(name: str, item_id: str, request: Request) -> Response:
        with ExitStack() as held:
            call = held.enter_context(let_in(door, request))
            reading = door.service.collections.read_picture(name, item_id, deadline=call.deadline)
            data, digest = await call.wait(reading)
            call.take(len(data))
            # The type is not told: what strangers sent must not be shown as a page of this server's.
            etag = {"ETag": f'"{digest}"'}
            return HeldResponse(data, held.pop_all(), media_type="application/octet-stream", headers=etag)

    @router.delete("/{name}/items/{item_id}", operation_id="delete_item", summary="Forget an item", responses=_DELETE)
    async def delete_item(name: str, item_id: str, request: Request) -> Deleted:
        with let_in(door, request) as call:
            deleting = door.service.collections.delete_item(name, item_id, deadline=call.deadline)
            if not await call.wait(deleting):
                raise ItemNotFoundError(f"collection {name!r} has no item {item_id[:64]!r}")
        return Deleted(id=item_id)


async def _read_items(door: Door, call: Call, name: str) -> list[SentItem]:
    limit, new_id = (
        door.config.store.max_items_per_call,
        new_ids(name, call.request.headers.get(IDEMPOTENCY_HEADER), IDEMPOTENCY_HEADER),
    )

    async def of_files(files: Files, pairs: Pairs) -> list[SentItem]:
        return items_of_form(files[IMAGE], pairs, limit, new_id)

    forms = BodyForms(
        json=ItemsJson,
        of_json=lambda fields: items_of_json(fields, limit, new_id),
        of_files=of_files,
        max_parts=_PARTS_OF_AN_ITEM * limit,
        form="file fields 'image'",
        query="id and metadata",
    )
    return await read_body(call.request, call.body, forms)


async def _add(door: Door, call: Call, name: str, sent: Sequence[SentItem]) -> AddReply:
    async def fetch(picture: bytes | PictureUrl) -> bytes:
        return await call.picture(picture, FETCH_SHARE)

    return await add_sent(door.service.collections, name, sent, fetch, call.deadline)


def _added(reply: AddReply) -> dict[str, Any]:
    return {
        "model": reply.model,
        "encoder": reply.encoder,
        "results": [
            {"id": result.id, "status": result.status}
            if result.error is None
            else {"id": result.id, "status": result.status, "error": _fault(result.error)}
            for result in reply.results
        ],
    }


def _fault(error: VlpError) -> dict[str, Any]:
    problem = problem_of(error)
    fault: dict[str, Any] = {"kind": str(problem.kind), "detail": problem.detail}
    return fault if problem.retry_after_s is None else fault | {"retry_after_s": problem.retry_after_s}


def _hits_body(reply: SearchReply) -> bytes:
    hits = []
    for found in reply.hits:
        hit: dict[str, Any] = {"id": found.hit.id, "score": found.hit.score, "metadata": found.hit.metadata}
        if found.rerank_score is not None:
            hit["rerank_score"] = found.rerank_score
        hits.append(hit)
    document: dict[str, Any] = {"model": reply.model, "encoder": reply.encoder, "hits": hits}
    if reply.reranked_by is not None:
        document["reranked_by"] = reply.reranked_by
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _collection(info: CollectionInfo) -> Collection:
    spec = info.spec
    index = None
    if info.index is not None:
        index = CollectionIndex(**dataclasses.asdict(info.index))
    return Collection(
        name=spec.name,
        model=spec.model,
        encoder=spec.encoder_digest,
        dimension=spec.dimension,
        metric=spec.metric,
        store_images=spec.store_images,
        items=info.items,
        created=int(info.created_at),
        index=index,
        index_settings=dataclasses.asdict(spec.index),
    )


def _item(item: StoredItem) -> Item:
    return Item(
        id=item.id,
        metadata=item.metadata,
        image_sha256=item.picture_digest,
        image_stored=item.picture_stored,
        created=int(item.created_at),
    )
