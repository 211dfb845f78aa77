"""Every test of this folder runs on both stores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vlp_server.index.opening import open_store
from vlp_server.index.settings import StoreSettings
from vlp_server.index.store import VectorStore

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

Reopen = Callable[[], VectorStore]


@pytest.fixture(params=["local", "milvus"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the store of this test, after closing it if it is open."""
    opened: list[VectorStore] = []
    settings = StoreSettings(
        pictures_url=str(tmp_path / "pictures"),
        max_items_per_call=1000,
        max_metadata_bytes=2000,
        max_picture_bytes=1000,
        max_k=500,
    )

    def again() -> VectorStore:
        if opened:
            opened.pop().close()
        opened.append(open_store(tmp_path / ("store" if request.param == "local" else "store.db"), settings))
        return opened[0]

    yield again
    if opened:
        opened[0].close()


@pytest.fixture
def store(reopen: Reopen) -> VectorStore:
    return reopen()
