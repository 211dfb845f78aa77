"""vlp.v1.Collections.AddItems: items as they come, with a result for each as it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import islice

import numpy as np
from vlp_proto.vlp.v1 import collections_pb2, content_pb2
from vlp_spec.errors import DeadlineError, InvalidArgumentError, VlpError

from vlp_server.core.call_checks import check_count
from vlp_server.grpc.call import IDEMPOTENCY_KEY, Call
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.pictures import read_picture
from vlp_server.grpc.read_ahead import ReadAhead
from vlp_server.grpc.rpc import Method, Sent, Streamed
from vlp_server.grpc.statuses import fault_of
from vlp_server.grpc.structs import check_struct, read_struct
from vlp_server.index.collection_rows import MAX_DIMENSION
from vlp_server.index.store import ItemResult, Vector
from vlp_server.intake.new_items import FETCH_SHARE, NewId, SentItem, add_sent, items_weight, new_ids
from vlp_server.intake.picture_source import PictureUrl

_pb = collections_pb2
SentItems = Sent[_pb.AddItemsRequest]
# Messages of more are made into items in a thread.
_INLINE_PARTS = 4096
_INLINE_NUMBERS = 65_536


def adding_methods(door: GrpcDoor) -> dict[str, Method]:
    """The method, by name."""
    return {"AddItems": Streamed(_pb.AddItemsRequest, exchange=lambda call, sent: _add_items(door, call, sent))}


async def _add_items(
    door: GrpcDoor, call: Call, messages: AsyncGenerator[SentItems]
) -> AsyncGenerator[_pb.AddItemsResponse]:
    ahead = ReadAhead(
        _checked(door, messages),
        lambda sent: (len(sent.message.items), sent.size_bytes),
        door.config.store.max_items_per_call,
        door.config.grpc.max_message_bytes,
    )
    try:
        adding: _Adding | None = None
        while batch := await _next(ahead, door.config.http.body_timeout_s):
            if adding is None:
                adding = _Adding(door, call, batch[0].message.collection)
            async with aclosing(adding.results(batch)) as responses:
                async for response in responses:
                    yield response
            call.take(-sum(sent.size_bytes for sent in batch))
        if adding is None:
            raise InvalidArgumentError("the call brings no message; the first one names the collection")
    finally:
        await ahead.close()


async def _checked(door: GrpcDoor, messages: AsyncGenerator[SentItems]) -> AsyncGenerator[SentItems]:
    """The messages, each looked at before it waits for those ahead of it.

    Raises:
        InvalidArgumentError: no items, or those of another collection.
        TooLargeError: more items than one call may bring.
    """
    collection = None
    async with aclosing(messages):
        async for sent in messages:
            message = sent.message
            if collection is None:
                collection = message.collection
                if not collection:
                    raise InvalidArgumentError("collection: missing; the first message names it", field="collection")
            if message.collection not in ("", collection):
                raise InvalidArgumentError(
                    f"collection: got {message.collection!r:.80}, the first message named {collection!r:.80}; one "
                    "stream fills one collection",
                    field="collection",
                )
            if not message.items:
                raise InvalidArgumentError("items: none; give at least one picture or vector", field="items")
            check_count("items", len(message.items), door.config.store.max_items_per_call)
            yield sent


async def _next(ahead: ReadAhead[SentItems], timeout_s: float) -> list[SentItems]:
    """What has arrived; its sender has an answer to all that came before."""
    try:
        async with asyncio.timeout(timeout_s):
            return await ahead.take()
    except TimeoutError:
        raise DeadlineError(f"no message within {timeout_s:g} s; end the stream, and begin another later") from None


class _Adding:
    """One stream of items on its way into a collection."""

    def __init__(self, door: GrpcDoor, call: Call, collection: str) -> None:
        self._door, self._call, self._collection = door, call, collection
        self._new_id: NewId = new_ids(collection, call.idempotency_key, IDEMPOTENCY_KEY)
        self._count = 0

    async def results(self, batch: Sequence[SentItems]) -> AsyncGenerator[_pb.AddItemsResponse]:
        """What became of the items of some messages, message by message."""
        with self._call.part() as part:
            items = await self._items(batch)
            part.charge(items_weight(items))

            async def fetch(picture: bytes | PictureUrl) -> bytes:
                return await part.picture(picture, FETCH_SHARE)

            collections = self._door.service.collections
            reply = await add_sent(collections, self._collection, items, fetch, part.deadline)
        self._call.noted(reply)
        results = iter(reply.results)
        for sent in batch:
            added = [_added(one) for one in islice(results, len(sent.message.items))]
            yield _pb.AddItemsResponse(model=reply.model, encoder=reply.encoder, results=added)

    async def _items(self, batch: Sequence[SentItems]) -> list[SentItem]:
        """The items of some messages, made in a thread where there is much to make."""
        sent = [item for one in batch for item in one.message.items]
        numbers = sum(len(item.vector.values) for item in sent)
        if sum(one.parts for one in batch) <= _INLINE_PARTS and numbers <= _INLINE_NUMBERS:
            return [self._item(item) for item in sent]
        return await asyncio.to_thread(lambda: [self._item(item) for item in sent])

    def _item(self, item: _pb.NewItem) -> SentItem:
        item_id = item.id if item.HasField("id") else self._new_id(self._count)
        self._count += 1
        try:
            check_struct("metadata", item.metadata, self._door.config.store.max_metadata_bytes)
            picture = read_picture(item.picture, "picture") if item.HasField("picture") else None
            vector = vector_of(item.vector) if item.HasField("vector") else None
        except VlpError as fault:
            return SentItem(item_id, fault=fault)
        return SentItem(item_id, picture, vector, read_struct(item.metadata))


def vector_of(sent: content_pb2.Vector) -> Vector:
    """The vector of a message; its length and its numbers are checked where the collection is known.

    Raises:
        InvalidArgumentError: longer than that of any collection.
    """
    if len(sent.values) > MAX_DIMENSION:
        raise InvalidArgumentError(f"vector: more than {MAX_DIMENSION} numbers", field="vector")
    return np.array(sent.values, dtype=np.float32)


def _added(result: ItemResult) -> _pb.AddedItem:
    status = _pb.ItemStatus.Value(f"ITEM_STATUS_{result.status.upper()}")
    if result.error is None:
        return _pb.AddedItem(id=result.id, status=status)
    fault = fault_of(result.error)
    error = content_pb2.Fault(kind=fault.kind, detail=fault.message, retry_after_s=fault.retry_after_s)
    return _pb.AddedItem(id=result.id, status=status, error=error)
