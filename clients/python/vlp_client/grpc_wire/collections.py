"""The service Collections: calls -> messages, messages -> bodies as the HTTP API has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlp_proto.vlp.v1 import collections_pb2 as messages

from vlp_client.calls import Call
from vlp_client.grpc_wire.content import (
    given,
    picture_message,
    struct_message,
    struct_value,
    subject_messages,
    vector_message,
)
from vlp_client.grpc_wire.rpc import Rpc, Shape

_SERVICE = "/vlp.v1.Collections"
_METRICS = {"cosine": messages.METRIC_COSINE, "dot": messages.METRIC_DOT, "l2": messages.METRIC_L2}
_KINDS = {
    "flat": messages.INDEX_KIND_FLAT,
    "hnsw": messages.INDEX_KIND_HNSW,
    "ivf_pq": messages.INDEX_KIND_IVF_PQ,
}
_STATUSES = {
    messages.ITEM_STATUS_CREATED: "created",
    messages.ITEM_STATUS_UPDATED: "updated",
    messages.ITEM_STATUS_FAILED: "failed",
}


def _create_request(call: Call[Any]) -> Any:
    fields = dict(call.fields)
    metric, index = str(fields.pop("metric")), fields.pop("index", None)
    if index is not None:
        kind = index.get("kind")
        others = {name: value for name, value in index.items() if name != "kind"}
        fields["index"] = messages.IndexSettings(kind=None if kind is None else _one_of(_KINDS, kind), **others)
    return messages.CreateCollectionRequest(name=call.name, metric=_one_of(_METRICS, metric), **fields)


def _one_of(choices: Mapping[str, Any], name: str) -> Any:
    if name not in choices:
        raise ValueError(f"got {name!r}, expected one of {', '.join(choices)}")
    return choices[name]


def _add_request(call: Call[Any]) -> Any:
    return messages.AddItemsRequest(collection=call.name, items=map(_new_item, call.fields["items"]))


def _new_item(fields: Mapping[str, Any]) -> Any:
    return messages.NewItem(
        id=fields.get("id"),
        picture=picture_message(fields["image"]) if "image" in fields else None,
        vector=vector_message(fields["vector"]) if "vector" in fields else None,
        metadata=struct_message(fields.get("metadata", {})),
    )


def _search_request(call: Call[Any]) -> Any:
    fields = dict(call.fields)
    if "vector" in fields:
        fields["vector"] = vector_message(fields["vector"])
    if "filter" in fields:
        fields["filter"] = struct_message(fields["filter"])
    if "rerank" in fields:
        fields["rerank"] = messages.Rerank(**fields["rerank"])
    for picture in subject_messages(call):
        fields["picture"] = picture
    return messages.SearchRequest(collection=call.name, **fields)


def _named(message: Any) -> Callable[[Call[Any]], Any]:
    return lambda call: message(name=call.name)


def _item_of(message: Any) -> Callable[[Call[Any]], Any]:
    return lambda call: message(collection=call.name, id=call.item_id)


def _collection(message: Any) -> dict[str, Any]:
    metrics = {number: name for name, number in _METRICS.items()}
    return {
        "name": message.name,
        "model": message.model,
        "encoder": message.encoder,
        "dimension": message.dimension,
        "metric": metrics.get(message.metric, "cosine"),
        "store_images": message.store_images,
        "items": message.items,
        "created": message.created,
    }


def _added_body(message: Any, _: Call[Any]) -> Any:
    results = []
    for one in message.results:
        body: dict[str, Any] = {"id": one.id, "status": _STATUSES[one.status]}
        if one.HasField("error"):
            fault = one.error
            body["error"] = {
                "kind": fault.kind,
                "detail": fault.detail,
                "retry_after_s": given(fault, "retry_after_s"),
            }
        results.append(body)
    return {"model": message.model, "encoder": message.encoder, "results": results}


def _item_body(message: Any, _: Call[Any]) -> Any:
    item = message.item
    return {
        "id": item.id,
        "metadata": struct_value(item.metadata),
        "image_sha256": item.image_sha256 or None,
        "image_stored": item.image_stored,
        "created": item.created,
    }


def _search_body(message: Any, _: Call[Any]) -> Any:
    hits = [
        {
            "id": hit.id,
            "score": hit.score,
            "metadata": struct_value(hit.metadata),
            "rerank_score": given(hit, "rerank_score"),
        }
        for hit in message.hits
    ]
    return {
        "model": message.model,
        "encoder": message.encoder,
        "hits": hits,
        "reranked_by": message.reranked_by or None,
    }


def _rpc(
    method: str, encode: Callable[[Call[Any]], Any], decode: Callable[[Any, Call[Any]], Any], shape: Shape = Shape.UNARY
) -> Rpc:
    return Rpc(f"{_SERVICE}/{method}", encode, getattr(messages, f"{method}Response"), decode, shape)


COLLECTION_RPCS: Mapping[str, Rpc] = {
    "create_collection": _rpc("CreateCollection", _create_request, lambda got, _: _collection(got.collection)),
    "collection": _rpc(
        "GetCollection", _named(messages.GetCollectionRequest), lambda got, _: _collection(got.collection)
    ),
    "collections": _rpc(
        "ListCollections",
        lambda _: messages.ListCollectionsRequest(),
        lambda got, _: {"collections": list(map(_collection, got.collections))},
    ),
    "drop_collection": _rpc("DeleteCollection", _named(messages.DeleteCollectionRequest), lambda got, _: {}),
    "add_items": _rpc("AddItems", _add_request, _added_body, Shape.EXCHANGE),
    "lookup_items": _rpc(
        "LookupItems",
        lambda call: messages.LookupItemsRequest(collection=call.name, ids=call.fields["ids"]),
        lambda got, _: {"known": {one.id: one.image_sha256 or None for one in got.items}},
    ),
    "item": _rpc("GetItem", _item_of(messages.GetItemRequest), _item_body),
    "item_image": _rpc("GetItemPicture", _item_of(messages.GetItemPictureRequest), lambda got, _: got.content),
    "delete_item": _rpc("DeleteItem", _item_of(messages.DeleteItemRequest), lambda got, _: {}),
    "search": _rpc("Search", _search_request, _search_body),
}
