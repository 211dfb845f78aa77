from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vlp_cli.reembedding import embed_anew
from vlp_server.config import resolve_config
from vlp_server.index.local import LocalStore
from vlp_server.index.store import CollectionSpec, NewItem, SearchQuery
from vlp_spec.errors import InvalidArgumentError, NoPicturesError

COUNT = 70  # more than one batch
CONFIG = resolve_config({"models.serve": "dummy-encoder", "engine.engine": "dummy"}, {}).config


def picture(number: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 255 - number, 7)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A collection of an encoder that nobody has any more."""
    made = LocalStore(tmp_path)
    made.create(CollectionSpec(name="pets", model="old@1", encoder_digest="b" * 64, dimension=3))
    vector = np.ones(3, np.float32)
    made.upsert("pets", [NewItem(id=str(number), vector=vector, picture=picture(number)) for number in range(COUNT)])
    return made


async def test_every_picture_gets_a_vector_of_the_new_encoder(store: LocalStore) -> None:
    seen: list[int] = []
    assert await embed_anew(store, "pets", CONFIG, seen.append) == COUNT
    assert sum(seen) == COUNT
    spec = store.spec("pets")
    assert (spec.model, spec.dimension) == ("dummy-encoder@1", 16)
    hits = store.search("pets", SearchQuery(vector=np.ones(16, np.float32), k=COUNT))
    assert len(hits) == COUNT
    assert len({hit.score for hit in hits}) == COUNT
    store.close()


async def test_an_item_without_a_picture_stops_it_and_nothing_changes(store: LocalStore) -> None:
    store.upsert("pets", [NewItem(id="bare", vector=np.ones(3, np.float32))])
    with pytest.raises(NoPicturesError):
        await embed_anew(store, "pets", CONFIG, lambda done: None)
    assert store.spec("pets").model == "old@1"
    store.delete_item("pets", "bare")
    assert await embed_anew(store, "pets", CONFIG, lambda done: None) == COUNT  # goes on with what it has
    store.close()


async def test_a_picture_that_cannot_be_read_is_named(store: LocalStore) -> None:
    store.upsert("pets", [NewItem(id="broken", vector=np.ones(3, np.float32), picture=b"no picture")])
    with pytest.raises(InvalidArgumentError, match="item 'broken'"):
        await embed_anew(store, "pets", CONFIG, lambda done: None)
    store.close()
