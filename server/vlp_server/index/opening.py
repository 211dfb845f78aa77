"""Which store a setting means."""

from __future__ import annotations

import re
from pathlib import Path

from vlp_server.index.settings import StoreSettings
from vlp_server.index.store import VectorStore

_SERVER = re.compile(r"(https?|tcp|unix)://")


def is_milvus(place: str | Path) -> bool:
    """Whether the place is a Milvus server (http://host:19530) or a file of milvus-lite (a name that ends in .db).

    This is how pymilvus itself reads the setting. Everything else is a folder of the local store.
    """
    text = str(place)
    return _SERVER.match(text) is not None or text.endswith(".db")


def open_store(place: str | Path, settings: StoreSettings | None = None) -> VectorStore:
    """The store at a place.

    Args:
        place: a folder for the local store, a URI of a Milvus server, or a milvus-lite file.
        settings: limits and habits.

    Raises:
        ConfigError: a package is missing, another process uses the folder, or Milvus cannot be reached.
        ArtifactError: a database that this vlpserve cannot read.
        StorageFullError: the disk is full.
    """
    if is_milvus(place):
        from vlp_server.index.milvus import MilvusStore

        return MilvusStore(str(place), settings)
    from vlp_server.index.local import LocalStore

    return LocalStore(Path(place), settings)
