"""vlp.v1.Collections: make and search collections, and look at their items."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TypeVar, cast

from google.protobuf.struct_pb2 import Struct
from vlp_proto.vlp.v1 import collections_pb2
from vlp_spec.errors import InvalidArgumentError, ItemNotFoundError

from vlp_server.access.prices import search_weight
from vlp_server.core.call_checks import check_count, check_text
from vlp_server.core.collection_records import CollectionSearch, CollectionWish, Rerank, SearchReply
from vlp_server.grpc.adding import adding_methods, vector_of
from vlp_server.grpc.call import Call
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.pictures import read_picture
from vlp_server.grpc.rpc import Method, Unary
from vlp_server.grpc.structs import check_struct, read_struct, write_struct
from vlp_server.grpc.texts import model_of
from vlp_server.index.filters import Filter, parse_filter
from vlp_server.index.settings import IndexKind, IndexSettings
from vlp_server.index.store import CollectionInfo, Metric, SearchEffort

_pb = collections_pb2
T = TypeVar("T")
_METRICS: dict[int, Metric] = {0: "cosine", 1: "cosine", 2: "dot", 3: "l2"}
_KINDS: dict[int, IndexKind] = {0: "hnsw", 1: "flat", 2: "hnsw", 3: "ivf_pq"}
_NUMBERS = tuple(field.name for field in dataclasses.fields(IndexSettings) if field.name != "kind")
_DEFAULT_HITS = 10
_DEFAULT_LOOKS = 20
# Hits of an answer from which on it is written in a thread.
_INLINE_HITS = 200
# Of a filter as JSON; far more than its nodes and values need.
_FILTER_BYTES = 262_144
# A filter of more is read in a thread.
_INLINE_BYTES = 16_384


def collection_methods(door: GrpcDoor) -> dict[str, Method]:
    """The methods, by name."""
    return {
        "CreateCollection": Unary(_pb.CreateCollectionRequest, lambda call, request: _create(door, call, request)),
        "GetCollection": Unary(_pb.GetCollectionRequest, lambda call, request: _get(door, call, request)),
        "ListCollections": Unary(_pb.ListCollectionsRequest, lambda call, _: _list(door, call)),
        "DeleteCollection": Unary(_pb.DeleteCollectionRequest, lambda call, request: _drop(door, call, request)),
        "LookupItems": Unary(_pb.LookupItemsRequest, lambda call, request: _lookup(door, call, request)),
        "GetItem": Unary(_pb.GetItemRequest, lambda call, request: _item(door, call, request)),
        "GetItemPicture": Unary(_pb.GetItemPictureRequest, lambda call, request: _picture(door, call, request)),
        "DeleteItem": Unary(_pb.DeleteItemRequest, lambda call, request: _delete_item(door, call, request)),
        "Search": Unary(_pb.SearchRequest, lambda call, request: _search(door, call, request)),
        **adding_methods(door),
    }


async def _create(door: GrpcDoor, call: Call, request: _pb.CreateCollectionRequest) -> _pb.CreateCollectionResponse:
    index = request.index
    settings = IndexSettings(
        kind=_of(_KINDS, index.kind, "index.kind"),
        **{name: getattr(index, name) for name in _NUMBERS if index.HasField(name)},
    )
    wish = CollectionWish(
        name=request.name,
        model=model_of(request.model),
        metric=_of(_METRICS, request.metric, "metric"),
        store_images=request.store_images if request.HasField("store_images") else True,
        index=settings,
    )
    info = await door.service.collections.create(wish, deadline=call.deadline)
    return _pb.CreateCollectionResponse(collection=_collection(info))


async def _get(door: GrpcDoor, call: Call, request: _pb.GetCollectionRequest) -> _pb.GetCollectionResponse:
    info = await door.service.collections.get(request.name, deadline=call.deadline)
    return _pb.GetCollectionResponse(collection=_collection(info))


async def _list(door: GrpcDoor, call: Call) -> _pb.ListCollectionsResponse:
    infos = await door.service.collections.all(deadline=call.deadline)
    return _pb.ListCollectionsResponse(collections=[_collection(info) for info in infos])


async def _drop(door: GrpcDoor, call: Call, request: _pb.DeleteCollectionRequest) -> _pb.DeleteCollectionResponse:
    await door.service.collections.drop(request.name, deadline=call.deadline)
    return _pb.DeleteCollectionResponse()


async def _lookup(door: GrpcDoor, call: Call, request: _pb.LookupItemsRequest) -> _pb.LookupItemsResponse:
    check_count("ids", len(request.ids), door.config.store.max_items_per_call)
    known = await door.service.collections.known(request.collection, list(request.ids), deadline=call.deadline)
    items = [_pb.KnownItem(id=item_id, image_sha256=digest or "") for item_id, digest in known.items()]
    return _pb.LookupItemsResponse(items=items)


async def _item(door: GrpcDoor, call: Call, request: _pb.GetItemRequest) -> _pb.GetItemResponse:
    item = await door.service.collections.get_item(request.collection, request.id, deadline=call.deadline)
    return _pb.GetItemResponse(
        item=_pb.Item(
            id=item.id,
            metadata=write_struct(item.metadata),
            image_sha256=item.picture_digest or "",
            image_stored=item.picture_stored,
            created=int(item.created_at),
        )
    )


async def _picture(door: GrpcDoor, call: Call, request: _pb.GetItemPictureRequest) -> _pb.GetItemPictureResponse:
    reading = door.service.collections.read_picture(request.collection, request.id, deadline=call.deadline)
    content, digest = await reading
    call.take(len(content))
    return _pb.GetItemPictureResponse(content=content, sha256=digest)


async def _delete_item(door: GrpcDoor, call: Call, request: _pb.DeleteItemRequest) -> _pb.DeleteItemResponse:
    if not await door.service.collections.delete_item(request.collection, request.id, deadline=call.deadline):
        raise ItemNotFoundError(f"collection {request.collection!r:.80} has no item {request.id[:64]!r}")
    return _pb.DeleteItemResponse()


async def _search(door: GrpcDoor, call: Call, request: _pb.SearchRequest) -> bytes:
    search = await _search_of(door, request)
    by_picture = request.WhichOneof("query") == "picture"
    looks = search.rerank.k if search.rerank else 0
    call.charge(search_weight(search.text, int(by_picture), looks))
    if by_picture:
        search = dataclasses.replace(search, picture=await call.picture(read_picture(request.picture, "picture")))
    found = await door.service.collections.search(request.collection, search, deadline=call.deadline)
    reply = call.noted(found)
    inline = len(reply.hits) <= _INLINE_HITS
    body = _hits_body(reply) if inline else await asyncio.to_thread(_hits_body, reply)
    call.take(len(body))
    return body


async def _search_of(door: GrpcDoor, request: _pb.SearchRequest) -> CollectionSearch:
    """The search of a message, without its picture."""
    limits = door.config.limits
    k = request.k if request.HasField("k") else _DEFAULT_HITS
    if k > limits.hits:
        raise InvalidArgumentError(f"k: got {k}, expected 1 to {limits.hits}", field="k")
    check_text("text", request.text, limits.text_chars)
    rerank = None
    if request.HasField("rerank"):
        looks = request.rerank.k if request.rerank.HasField("k") else _DEFAULT_LOOKS
        rerank = Rerank(model=model_of(request.rerank.model), k=looks)
    kind = request.WhichOneof("query")
    return CollectionSearch(
        text=request.text if kind == "text" else None,
        vector=vector_of(request.vector) if kind == "vector" else None,
        k=k,
        filter=await _filter_of(request.filter) if request.HasField("filter") else None,
        effort=SearchEffort(
            ef_search=request.ef_search if request.HasField("ef_search") else None,
            nprobe=request.nprobe if request.HasField("nprobe") else None,
            exact=request.exact,
        ),
        rerank=rerank,
    )


async def _filter_of(sent: Struct) -> Filter:
    check_struct("filter", sent, _FILTER_BYTES)
    if sent.ByteSize() <= _INLINE_BYTES:
        return parse_filter(read_struct(sent))
    return await asyncio.to_thread(lambda: parse_filter(read_struct(sent)))


def _hits_body(reply: SearchReply) -> bytes:
    response = _pb.SearchResponse(
        model=reply.model,
        encoder=reply.encoder,
        hits=[
            _pb.SearchHit(
                id=found.hit.id,
                score=found.hit.score,
                metadata=write_struct(found.hit.metadata),
                rerank_score=found.rerank_score,
            )
            for found in reply.hits
        ],
        reranked_by=reply.reranked_by or "",
    )
    return bytes(response.SerializeToString())


def _of(values: dict[int, T], number: int, name: str) -> T:
    """What a number of an enum stands for; messages may carry any."""
    if number not in values:
        raise InvalidArgumentError(f"{name}: {number} is none of its values", field=name)
    return values[number]


def _collection(info: CollectionInfo) -> _pb.Collection:
    spec, state = info.spec, info.index
    index = None
    if state is not None:
        index = _pb.CollectionIndex(
            kind=_kind_value(state.kind),
            built_items=state.built_items,
            tail_items=state.tail_items,
            deleted_items=state.deleted_items,
            building=state.building,
        )
    settings = {name: getattr(spec.index, name) for name in _NUMBERS}
    return _pb.Collection(
        name=spec.name,
        model=spec.model,
        encoder=spec.encoder_digest,
        dimension=spec.dimension,
        metric=_pb.Metric.Value(f"METRIC_{spec.metric.upper()}"),
        store_images=spec.store_images,
        items=info.items,
        created=int(info.created_at),
        index=index,
        index_settings=_pb.IndexSettings(kind=_kind_value(spec.index.kind), **settings),
    )


def _kind_value(kind: str | None) -> _pb.IndexKind:
    name = "UNSPECIFIED" if kind is None else kind.upper()
    return cast(_pb.IndexKind, _pb.IndexKind.Value(f"INDEX_KIND_{name}"))
