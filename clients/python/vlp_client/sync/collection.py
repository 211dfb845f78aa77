# Made from vlp_client/aio/collection.py by clients/python/write_sync_client.py: change it there.
"""A collection of pictures on a server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from vlp_client.bulk_records import BulkOptions, BulkSettings, ItemResult
from vlp_client.calls import Call, Repeat
from vlp_client.collection_records import (
    Added,
    AddedItem,
    CollectionInfo,
    Hits,
    StoredItem,
    read_added,
    read_collection,
    read_hits,
    read_item,
)
from vlp_client.http_wire import path_part
from vlp_client.new_items import NewItem, Rerank, item_fields, rerank_fields
from vlp_client.pictures import ImageSource
from vlp_client.replies import Reply
from vlp_client.subject import subject_of
from vlp_client.sync.bulk import Bulk
from vlp_client.sync.bulk_index import IndexPlan
from vlp_client.sync.pool import Items
from vlp_client.sync.sending import Sender
from vlp_client.wire_values import WireVector

T = TypeVar("T")


class Collection:
    """Made by `Client.collection`. All methods raise VlpClientError; see `vlp_client.errors`.

    Raises:
        ValueError: from the constructor, or from a method that is given an id: "", "." or "..".
    """

    def __init__(self, sender: Sender, name: str) -> None:
        path_part(name)  # what no collection can be named is told here
        self._sender = sender
        self.name = name

    def create(
        self,
        *,
        model: str | None = None,
        metric: str = "cosine",
        store_images: bool = True,
        index: Mapping[str, Any] | None = None,
    ) -> CollectionInfo:
        """Make it; nothing happens where the same is there already.

        Args:
            model: whose encoder makes the vectors; None for the server's default encoder.
            metric: "cosine", "dot" or "l2".
            store_images: keep the pictures, which re-ranking needs.
            index: settings such as {"kind": "ivf_pq"}.

        Example:
            >>> pets = client.collection("pets")
            >>> info = pets.create(model="dummy-encoder")
            >>> info.dimension, info.metric
            (16, 'cosine')
            >>> [info.name for info in client.collections()]
            ['pets']
            >>> pets.drop()
        """
        body: dict[str, Any] = {"metric": metric, "store_images": store_images}
        if model is not None:
            body["model"] = model
        if index is not None:
            body["index"] = dict(index)
        return self._send("create_collection", read_collection, body)

    def info(self) -> CollectionInfo:
        """The collection as it is now."""
        return self._send("collection", read_collection)

    def drop(self) -> None:
        """Forget it with all of its items."""
        self._send("drop_collection", _nothing, gone_kind="collection_not_found")

    def add(
        self, items: Iterable[NewItem], *, idempotency_key: str | None = None, deadline_s: float | None = None
    ) -> Added:
        """Add items in one call; each has its own result, and what is kept is on the server's disk.

        Args:
            items: as many as the server takes in a call (1024 by default) and its limit of a body holds.
            idempotency_key: gives items without an id the same ids when the call is made again; None for a new one,
                which the client's own retries share.
            deadline_s: items that are not embedded by then fail.

        Raises:
            OSError: a picture's file cannot be read.

        Example:
            >>> from vlp_client import NewItem
            >>> shop = client.collection("shop")
            >>> info = shop.create(model="dummy-encoder")
            >>> added = shop.add([NewItem(image=photo, id="car"), NewItem(image=b"no picture", id="bad")])
            >>> [(result.id, result.status, result.kind) for result in added.results]
            [('car', 'created', None), ('bad', 'failed', 'invalid_image')]
            >>> shop.drop()
        """
        call = Call(
            verb="add_items",
            read=read_added,
            fields={"items": [item_fields(item) for item in items]},
            name=self.name,
            deadline_s=deadline_s,
            repeat=Repeat.KEYED,
            idempotency_key=uuid.uuid4().hex if idempotency_key is None else idempotency_key,
        )
        return self._sender.call(call)

    def index_many(
        self, items: Items[NewItem], *, again: bool = False, **options: Unpack[BulkOptions]
    ) -> Generator[ItemResult[AddedItem], None]:
        """Add any number of items, several calls at a time; each has its own result, and none ends the run.

        What is there already with the same picture is passed over (its status is "present"), so that a run which was
        cut off is simply started again. An item without an id gets one of its content. A server that is full is waited
        for. Closing the iterator early ends the run.

        Args:
            items: read as they are needed.
            again: send also what is there already, with its metadata.
            options: see `BulkOptions`.

        Raises:
            ValueError: an option that cannot be.
            JournalError: while iterating: the journal cannot be gone on with.
            OSError: while iterating: the journal cannot be written.

        Example:
            >>> from vlp_client import NewItem
            >>> yard = client.collection("yard")
            >>> info = yard.create(model="dummy-encoder")
            >>> items = [NewItem(image=photo), NewItem(image=other_photo)]
            >>> [result.unwrap().status for result in yard.index_many(items)]
            ['created', 'created']
            >>> [result.unwrap().status for result in yard.index_many(items)]
            ['present', 'present']
            >>> yard.drop()
        """
        settings = BulkSettings(**options)
        plan = IndexPlan(self.name, again, settings.deadline_s)
        return Bulk(self._sender, plan, settings).results(items)

    def lookup(self, ids: Sequence[str]) -> dict[str, str | None]:
        """Those of the ids that are there, with the sha256 of their pictures."""
        return self._send("lookup_items", lambda reply: dict(reply.body["known"]), {"ids": list(ids)})

    def get(self, item_id: str) -> StoredItem:
        """An item."""
        return self._send("item", read_item, item_id=item_id)

    def image(self, item_id: str) -> bytes:
        """An item's picture, as it was sent."""
        return self._send("item_image", lambda reply: bytes(reply.body), item_id=item_id)

    def delete(self, item_id: str) -> None:
        """Forget an item."""
        self._send("delete_item", _nothing, item_id=item_id, gone_kind="item_not_found")

    def search(
        self,
        text: str | None = None,
        *,
        image: ImageSource | None = None,
        vector: Sequence[float] | None = None,
        k: int = 10,
        filter: Mapping[str, Any] | None = None,
        rerank: Rerank | bool = False,
        exact: bool = False,
        deadline_s: float | None = None,
    ) -> Hits:
        """Find items by one of words, a picture and a vector.

        Args:
            k: hits wanted.
            filter: which items may be hits, such as {"kind": "disc", "size": {"gte": 2}}.
            rerank: let a model that sees picture and text together look at the first hits again; True leaves to the
                server which model, and how many.
            exact: score every vector.

        Example:
            >>> from vlp_client import NewItem
            >>> album = client.collection("album")
            >>> info = album.create(model="dummy-encoder")
            >>> added = album.add([NewItem(image=photo, id="rex", metadata={"kind": "dog", "age": 3})])
            >>> found = album.search("a dog", k=3, filter={"kind": "dog", "age": {"lt": 5}})
            >>> [hit.id for hit in found.hits]
            ['rex']
            >>> album.drop()
        """
        fields: dict[str, Any] = {"k": k}
        if text is not None:
            fields["text"] = text
        if vector is not None:
            fields["vector"] = WireVector.of(vector)
        if filter is not None:
            fields["filter"] = dict(filter)
        wish = rerank_fields(rerank)
        if wish is not None:
            fields["rerank"] = wish
        if exact:
            fields["exact"] = True
        call = Call(
            verb="search",
            read=read_hits,
            subject=None if image is None else subject_of(image),
            fields=fields,
            name=self.name,
            deadline_s=deadline_s,
        )
        return self._sender.call(call)

    def _send(
        self,
        verb: str,
        read: Callable[[Reply], T],
        fields: Mapping[str, Any] | None = None,
        *,
        item_id: str | None = None,
        gone_kind: str | None = None,
    ) -> T:
        if item_id is not None:
            path_part(item_id)
        call = Call(verb=verb, read=read, fields=fields or {}, name=self.name, item_id=item_id, gone_kind=gone_kind)
        return self._sender.call(call)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _nothing(_: Reply) -> None:
    """Of an answer that says only that it is done."""
