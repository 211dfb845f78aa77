"""A collection of pictures on a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlp_client.collection_records import (
    Added,
    CollectionInfo,
    Hits,
    StoredItem,
    added,
    collection_info,
    hits,
    stored_item,
)
from vlp_client.connection import Connection, deadline_headers, path_part, timings_of
from vlp_client.pictures import ImageSource, read_picture
from vlp_client.subject import subject_of
from vlp_client.vectors import write_base64


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be added: with a picture, or with a vector of the collection's own encoder, or with both.

    Attributes:
        id: an item of the same id is replaced; None lets the server make one.
        metadata: anything that JSON can hold, to filter searches by.
    """

    image: ImageSource | None = None
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    vector: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Rerank:
    """How many of a search's first hits are looked at again, and by which model; None leaves it to the server."""

    k: int | None = None
    model: str | None = None


class Collection:
    """Made by `Client.collection`. All methods raise VlpClientError; see `vlp_client.errors`.

    Raises:
        ValueError: from the constructor, or from a method that is given an id: "", "." or "..".
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        self._path = f"/v1/collections/{path_part(name)}"

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
        """
        body: dict[str, Any] = {"metric": metric, "store_images": store_images}
        if model is not None:
            body["model"] = model
        if index is not None:
            body["index"] = dict(index)
        return self._connection.call("PUT", self._path, lambda found, _: collection_info(found), json=body)

    def info(self) -> CollectionInfo:
        """The collection as it is now."""
        return self._connection.call("GET", self._path, lambda found, _: collection_info(found))

    def drop(self) -> None:
        """Forget it with all of its items."""
        self._connection.send("DELETE", self._path)

    def add(
        self, items: Iterable[NewItem], *, idempotency_key: str | None = None, deadline_s: float | None = None
    ) -> Added:
        """Add items in one call; each has its own result, and what is kept is on the server's disk.

        Args:
            items: as many as the server takes in a call (1024 by default) and its limit of a body holds.
            idempotency_key: gives items without an id the same ids when the call is made again.
            deadline_s: items that are not embedded by then fail.

        Raises:
            OSError: a picture's file cannot be read.
        """
        body = {"items": [_item(item) for item in items]}
        headers = deadline_headers(deadline_s)
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return self._connection.call(
            "POST", f"{self._path}/items", lambda found, _: added(found), json=body, headers=headers
        )

    def lookup(self, ids: Sequence[str]) -> dict[str, str | None]:
        """Those of the ids that are there, with the sha256 of their pictures."""
        return self._connection.call(
            "POST", f"{self._path}/items/lookup", lambda found, _: dict(found["known"]), json={"ids": list(ids)}
        )

    def get(self, item_id: str) -> StoredItem:
        """An item."""
        return self._connection.call("GET", self._item_path(item_id), lambda found, _: stored_item(found))

    def image(self, item_id: str) -> bytes:
        """An item's picture, as it was sent."""
        return self._connection.send("GET", f"{self._item_path(item_id)}/image").content

    def delete(self, item_id: str) -> None:
        """Forget an item."""
        self._connection.send("DELETE", self._item_path(item_id))

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
        """
        fields: dict[str, Any] = {"k": k}
        if text is not None:
            fields["text"] = text
        if vector is not None:
            fields["vector"] = write_base64(vector)
        if filter is not None:
            fields["filter"] = dict(filter)
        if rerank:
            chosen = Rerank() if isinstance(rerank, bool) else rerank
            wishes = {"model": chosen.model, "k": chosen.k}
            fields["rerank"] = {name: value for name, value in wishes.items() if value is not None}
        if exact:
            fields["exact"] = True
        content = {"json": fields} if image is None else subject_of(image).content(fields)
        return self._connection.call(
            "POST",
            f"{self._path}/search",
            lambda found, headers: hits(found, timings_of(headers)),
            headers=deadline_headers(deadline_s),
            **content,
        )

    def _item_path(self, item_id: str) -> str:
        return f"{self._path}/items/{path_part(item_id)}"


def _item(item: NewItem) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": dict(item.metadata)}
    if item.id is not None:
        body["id"] = item.id
    if item.image is not None:
        body["image"] = read_picture(item.image).json_value
    if item.vector is not None:
        body["vector"] = write_base64(item.vector)
    return body
