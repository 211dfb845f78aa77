"""Digests of items: the same for the same content, whatever its file is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlp_client.bulk_records import Prepared
from vlp_client.new_items import NewItem
from vlp_client.pictures import ImageSource, Picture, read_picture
from vlp_client.wire_values import WireVector


def digest(*parts: bytes | str) -> str:
    """Of some parts, in hex; other parts have another one wherever they begin and end."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "big"))
        whole.update(content)
    return whole.hexdigest()[:32]


def picture_digest(picture: Picture) -> str:
    """Of a picture's bytes, or of the URL that it is at."""
    return digest("url", picture.url) if picture.url is not None else digest("picture", picture.content)


def read_input(item: str | ImageSource) -> str | Picture:
    """What is embedded: a str is a text, everything else a picture.

    Raises:
        OSError: its file cannot be read.
        TypeError: it is neither.
    """
    if isinstance(item, str | Picture):
        return item
    if isinstance(item, bytes | bytearray | memoryview | Path) or hasattr(item, "read") or hasattr(item, "save"):
        return read_picture(item)
    raise TypeError(f"got {type(item).__name__}, expected a text or a picture")


def prepared_input(item: str | ImageSource) -> Prepared:
    """An item of `embed_many`; errors as `read_input`."""
    found = read_input(item)
    if isinstance(found, str):
        return Prepared(digest("text", found), len(found), found)
    return Prepared(picture_digest(found), found.size_bytes, found)


def prepared_question(item: tuple[ImageSource, str]) -> Prepared:
    """An item of `vqa_many`: a picture and a question.

    Raises:
        OSError: its file cannot be read.
        TypeError: it is not both.
    """
    if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[1], str):
        raise TypeError(f"got {type(item).__name__}, expected a pair: picture and question")
    picture = read_picture(item[0]) if not isinstance(item[0], Picture) else item[0]
    return Prepared(digest(picture_digest(picture), item[1]), picture.size_bytes, (picture, item[1]))


def prepared_new_item(item: NewItem) -> Prepared:
    """An item of `index_many`; where it has no id, its digest becomes that.

    Raises:
        OSError: its file cannot be read.
        TypeError: it is no item, or has a picture in no form that is known here.
        ValueError: neither a picture nor a vector, or metadata that JSON cannot hold.
    """
    if not isinstance(item, NewItem):
        raise TypeError(f"got {type(item).__name__}, expected NewItem")
    if item.image is None and item.vector is None:
        raise ValueError("an item with neither a picture nor a vector")
    fields: dict[str, Any] = {"metadata": dict(item.metadata)}
    parts, size = [_canonical(item.metadata)], 0
    if item.image is not None:
        picture = item.image if isinstance(item.image, Picture) else read_picture(item.image)
        fields["image"] = picture
        parts.append(picture_digest(picture))
        size += picture.size_bytes
    if item.vector is not None:
        vector = WireVector.of(item.vector)
        fields["vector"] = vector
        parts.append(digest("vector", vector.content))
        size += len(vector.content)
    fields["id"] = digest(*parts[1:]) if item.id is None else item.id
    return Prepared(digest(fields["id"], *parts), size, fields)


def _canonical(metadata: Mapping[str, Any]) -> str:
    return json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
