"""The SDK's collections, embeddings, classification and matching against the door."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pictures_made as pictures
import pytest
from asgi_bridge import AsgiBridge, LoopThread
from collection_rig import make_service
from vlp_client import Client, NewItem, RequestError, Rerank, ServerError, picture
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app

COLOURS = ("red", "green", "blue")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    loop = LoopThread()
    service = make_service(tmp_path / "store")
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    with Client("http://server", transport=AsgiBridge(create_app(service, ServerConfig()), loop)) as client:
        yield client
    loop.run(service.close())
    loop.close()


def colour(name: str) -> bytes:
    return pictures.encode(pictures.Image.new("RGB", (40, 40), name), "PNG")


def items() -> list[NewItem]:
    return [NewItem(image=colour(name), id=name, metadata={"n": n}) for n, name in enumerate(COLOURS)]


def test_a_collection_from_beginning_to_end(client: Client) -> None:
    pets = client.collection("pets")
    made = pets.create()
    assert (made.name, made.model, made.dimension, made.items) == ("pets", "dummy-encoder@1", 16, 0)
    added = pets.add(items())
    assert [(one.id, one.status) for one in added.results] == [(name, "created") for name in COLOURS]
    assert not added.failed
    assert [info.items for info in client.collections()] == [3]
    assert pets.lookup(["red", "nobody"]) == {"red": hashlib.sha256(colour("red")).hexdigest()}
    assert (pets.get("green").metadata, pets.get("green").image_stored) == ({"n": 1}, True)
    assert pets.image("green") == colour("green")
    pets.delete("green")
    with pytest.raises(RequestError, match="green"):
        pets.get("green")
    pets.drop()
    assert client.collections() == ()


def test_searches(client: Client, tmp_path: Path) -> None:
    pets = client.collection("pets")
    pets.create()
    pets.add(items())
    file = tmp_path / "blue.png"
    file.write_bytes(colour("blue"))
    found = pets.search(image=file, k=1)
    assert [hit.id for hit in found.hits] == ["blue"]
    assert (found.model, found.reranked_by) == ("dummy-encoder@1", None)
    by_text = pets.search("a cat")
    vector = client.embed(["a cat"]).vectors[0]
    assert [hit.id for hit in pets.search(vector=vector, exact=True).hits] == [hit.id for hit in by_text.hits]
    assert {hit.id for hit in pets.search("a cat", filter={"n": {"gte": 1}}).hits} == {"green", "blue"}
    again = pets.search("a cat", rerank=Rerank(k=2))
    assert [hit.rerank_score is None for hit in again.hits] == [False, False, True]
    assert pets.search("a cat", rerank=True).reranked_by == "dummy-matcher@1"


def test_faults_of_items_come_back_and_faults_of_calls_are_raised(client: Client) -> None:
    pets = client.collection("pets")
    with pytest.raises(ServerError) as missing:
        pets.add(items())
    assert missing.value.kind == "collection_not_found"
    pets.create()
    added = pets.add([NewItem(image=b"junk", id="junk"), *items()], idempotency_key="k", deadline_s=30)
    assert [(one.id, one.kind, one.retry_after_s) for one in added.failed] == [("junk", "invalid_image", None)]
    with pytest.raises(RequestError) as exists:
        pets.create(metric="l2", model="dummy-encoder", index={"kind": "flat"})
    assert (exists.value.kind, exists.value.status) == ("collection_exists", 409)
    with pytest.raises(RequestError):
        client.collection("a/b").create()
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="is no name"):
            client.collection(name)
        for call in (pets.get, pets.delete, pets.image):
            with pytest.raises(ValueError, match="is no name"):
                call(name)
    assert pets.info().items == len(COLOURS)


def test_vectors_of_texts_and_pictures(client: Client) -> None:
    reply = client.embed(["a cat", picture(colour("red")), "a dog"], model="dummy-encoder", deadline_s=30)
    vectors = np.asarray(reply.vectors)
    assert (vectors.shape, vectors.dtype) == ((3, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(client.embed(["a dog"]).vectors)[0], vectors[2])


def test_classification_and_matching(client: Client) -> None:
    classified = client.classify(colour("red"), ["cat", "dog"], templates=["a {}", "one {}"])
    assert {one.label for one in classified.scores} == {"cat", "dog"}
    assert classified.best == classified.scores[0].label
    assert sum(one.score for one in classified.scores) == pytest.approx(1.0)
    matched = client.match(colour("red"), ["a cat", "a dog"])
    assert [one.text for one in matched.scores] == ["a cat", "a dog"]
    assert all(0 <= one.score <= 1 for one in matched.scores)
