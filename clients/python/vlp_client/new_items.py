"""What is added to a collection, and how a search looks at its hits again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlp_client.pictures import ImageSource, read_picture
from vlp_client.short_repr import ShortRepr
from vlp_client.wire_values import WireVector


@dataclass(frozen=True, slots=True, repr=False)
class NewItem(ShortRepr):
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


def item_fields(item: NewItem) -> dict[str, Any]:
    """An item as JSON holds it, but for its picture and vector.

    Raises:
        OSError: the picture's file cannot be read.
        TypeError: no picture in any form that is known here.
    """
    body: dict[str, Any] = {"metadata": dict(item.metadata)}
    if item.id is not None:
        body["id"] = item.id
    if item.image is not None:
        body["image"] = read_picture(item.image)
    if item.vector is not None:
        body["vector"] = WireVector.of(item.vector)
    return body


def rerank_fields(rerank: Rerank | bool) -> dict[str, Any] | None:
    """The wish to look again as JSON holds it; None where there is none."""
    if not rerank:
        return None
    chosen = Rerank() if isinstance(rerank, bool) else rerank
    wishes = {"model": chosen.model, "k": chosen.k}
    return {name: value for name, value in wishes.items() if value is not None}
