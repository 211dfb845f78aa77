"""Collections through the door, over dummy models and a local store."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pictures_made as pictures
import pytest
from collection_rig import collection_service
from service_rig import read_metric
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app
from vlp_server.index.settings import StoreSettings

COLOURS = ("red", "green", "blue", "white")
STORE = StoreSettings(max_items_per_call=8)


@pytest.fixture
async def store_door(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with collection_service(tmp_path, store=STORE) as service:
        app = create_app(service, ServerConfig(store=STORE))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
            assert (await client.put("/v1/collections/pets", json={})).status_code == 200
            yield client


@pytest.fixture(params=["local", "milvus"])
async def any_door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The same over either store."""
    settings = replace(STORE, pictures_url=str(tmp_path / "kept"))
    place = tmp_path / ("store" if request.param == "local" else "store.db")
    async with collection_service(place, store=settings) as service:
        app = create_app(service, ServerConfig(store=settings))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
            assert (await client.put("/v1/collections/pets", json={})).status_code == 200
            yield client


async def test_milvus_without_a_place_for_pictures_says_so(tmp_path: Path) -> None:
    async with collection_service(tmp_path / "store.db") as service:
        app = create_app(service, ServerConfig())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
            detail = refused(await client.put("/v1/collections/pets", json={}), 400, "invalid_argument")
            assert "store.pictures_url" in detail
            assert (await client.put("/v1/collections/pets", json={"store_images": False})).status_code == 200


def colour(name: str) -> bytes:
    return pictures.encode(pictures.Image.new("RGB", (40, 40), name), "PNG")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def json_items() -> list[dict[str, Any]]:
    return [{"id": name, "image": base64_of(colour(name)), "metadata": {"colour": name}} for name in COLOURS]


async def add(door: httpx.AsyncClient, items: Any, **options: Any) -> list[dict[str, Any]]:
    response = await door.post("/v1/collections/pets/items", json={"items": items}, **options)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


async def search(door: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await door.post("/v1/collections/pets/search", json=fields)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in body["hits"]]


def refused(response: httpx.Response, status: int, kind: str) -> str:
    problem = response.json()
    assert (response.status_code, problem["kind"]) == (status, kind), response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(problem["detail"])


async def test_the_life_of_a_collection(any_door: httpx.AsyncClient) -> None:
    door = any_door
    made = (await door.get("/v1/collections/pets")).json()
    assert (made["name"], made["model"], made["dimension"], made["items"]) == ("pets", "dummy-encoder@1", 16, 0)
    assert (await door.put("/v1/collections/pets", json={})).json() == made
    refused(await door.put("/v1/collections/pets", json={"metric": "dot"}), 409, "collection_exists")
    wish = {"metric": "l2", "store_images": False, "index": {"kind": "flat"}, "model": "dummy-encoder"}
    other = (await door.put("/v1/collections/other", json=wish)).json()
    assert (other["metric"], other["store_images"], other["index_settings"]["kind"]) == ("l2", False, "flat")
    listed = (await door.get("/v1/collections")).json()["collections"]
    assert [one["name"] for one in listed] == ["other", "pets"]
    assert (await door.delete("/v1/collections/other")).json() == {"id": "other", "deleted": True}
    refused(await door.get("/v1/collections/other"), 404, "collection_not_found")
    refused(await door.delete("/v1/collections/other"), 404, "collection_not_found")


async def test_the_life_of_an_item(any_door: httpx.AsyncClient) -> None:
    door = any_door
    assert await add(door, json_items()) == [{"id": name, "status": "created"} for name in COLOURS]
    assert (await add(door, json_items()[:1]))[0]["status"] == "updated"
    item = (await door.get("/v1/collections/pets/items/red")).json()
    assert (item["metadata"], item["image_stored"]) == ({"colour": "red"}, True)
    image = await door.get("/v1/collections/pets/items/red/image")
    assert image.content == colour("red")
    assert image.headers["content-type"] == "application/octet-stream"
    assert image.headers["x-content-type-options"] == "nosniff"
    known = await door.post("/v1/collections/pets/items/lookup", json={"ids": ["red", "nobody"]})
    assert known.json() == {"known": {"red": item["image_sha256"]}}
    assert (await door.delete("/v1/collections/pets/items/red")).json() == {"id": "red", "deleted": True}
    for response in (
        await door.get("/v1/collections/pets/items/red"),
        await door.get("/v1/collections/pets/items/red/image"),
        await door.delete("/v1/collections/pets/items/red"),
    ):
        refused(response, 404, "item_not_found")


async def test_three_ways_to_add_a_picture(store_door: httpx.AsyncClient) -> None:
    door, path = store_door, "/v1/collections/pets/items"
    files = [("image", (f"{name}.png", colour(name))) for name in ("red", "blue")]
    form = {"id": ["red", "blue"], "metadata": ['{"n": 1}', '{"n": 2}']}
    assert [one["id"] for one in (await door.post(path, files=files, data=form)).json()["results"]] == ["red", "blue"]
    raw = await door.post(
        path, content=colour("white"), headers={"content-type": "image/png"}, params={"id": "w", "metadata": '{"n": 3}'}
    )
    assert raw.json()["results"] == [{"id": "w", "status": "created"}]
    assert (await search(door, image=base64_of(colour("white")), k=1))["hits"][0]["metadata"] == {"n": 3}
    (made,) = (await door.post(path, files=files[:1])).json()["results"]
    assert (await door.get(f"{path}/{made['id']}")).json()["metadata"] == {}


async def test_three_ways_to_search_by_a_picture(any_door: httpx.AsyncClient) -> None:
    door, path = any_door, "/v1/collections/pets/search"
    await add(door, json_items())
    answers = [
        await door.post(path, json={"image": base64_of(colour("blue")), "k": 2}),
        await door.post(path, files={"image": colour("blue")}, data={"k": "2"}),
        await door.post(path, content=colour("blue"), headers={"content-type": "image/png"}, params={"k": "2"}),
    ]
    assert [ids(answer.json())[0] for answer in answers] == ["blue"] * 3
    assert len({json.dumps(answer.json()) for answer in answers}) == 1
    filtered = {"k": "2", "filter": json.dumps({"colour": "red"})}
    assert ids((await door.post(path, files={"image": colour("blue")}, data=filtered)).json()) == ["red"]


async def test_a_vector_in_a_form_is_a_list_or_base64(store_door: httpx.AsyncClient) -> None:
    await add(store_door, json_items())
    path, numbers = "/v1/collections/pets/search", [1.0] * 16
    for vector in (json.dumps(numbers), base64_of(np.array(numbers, "<f4").tobytes())):
        form = {"vector": (None, vector), "k": (None, "2")}
        answer = await store_door.post(path, files=form)
        assert ids(answer.json()) == ids(await search(store_door, vector=numbers, k=2)), answer.text


async def test_search_by_text_filter_vector_and_again_with_a_reranker(any_door: httpx.AsyncClient) -> None:
    door = any_door
    await add(door, json_items())
    plain = await search(door, text="a cat")
    assert set(plain) == {"model", "encoder", "hits"}
    assert set(plain["hits"][0]) == {"id", "score", "metadata"}
    assert ids(await search(door, text="a cat", filter={"colour": {"in": ["red", "blue"]}}, k=4)) == [
        name for name in ids(plain) if name in ("red", "blue")
    ]
    embedded = await door.post("/v1/embeddings", json={"input": "a cat", "encoding_format": "base64"})
    vector = embedded.json()["data"][0]["embedding"]
    assert ids(await search(door, vector=vector)) == ids(plain)
    assert ids(await search(door, vector=np.frombuffer(base64.b64decode(vector), "<f4").tolist())) == ids(plain)
    again = await search(door, text="a cat", rerank={"model": "dummy-matcher", "k": 4})
    scores = [hit["rerank_score"] for hit in again["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert again["reranked_by"] == "dummy-matcher@1"
    response = await door.post("/v1/collections/pets/search", json={"text": "a cat", "rerank": {}})
    assert {"store", "rerank"} <= {part.split(";")[0].strip() for part in response.headers["Server-Timing"].split(",")}


async def test_an_idempotency_key_gives_the_same_ids_again(store_door: httpx.AsyncClient) -> None:
    items = [{"image": base64_of(colour(name))} for name in COLOURS]
    first, again, other = [
        await add(store_door, items, headers={"Idempotency-Key": key}) for key in ("one", "one", "two")
    ]
    assert [one["id"] for one in first] == [one["id"] for one in again]
    assert {one["status"] for one in again} == {"updated"}
    assert not {one["id"] for one in first} & {one["id"] for one in other}
    assert (await store_door.get("/v1/collections/pets")).json()["items"] == 2 * len(COLOURS)
    for key in ("", "x" * 300, "tab\there"):
        response = await store_door.post(
            "/v1/collections/pets/items", json={"items": items}, headers={"Idempotency-Key": key}
        )
        refused(response, 400, "invalid_argument")


async def test_every_item_has_its_own_fault(any_door: httpx.AsyncClient) -> None:
    good = {"id": "good", "image": base64_of(colour("red"))}
    items = [
        {"id": "junk", "image": base64_of(b"junk")},
        {"id": "text", "image": "%%%"},
        {"id": "url", "image": "http://127.0.0.1/a.png"},
        {"id": "dots/..", "image": base64_of(colour("red"))},
        {"id": "heavy", "image": base64_of(colour("red")), "metadata": {"text": "x" * 10_000_000}},
        {"id": "short", "vector": [1.0, 2.0]},
        {"id": "nan", "vector": base64_of(np.full(16, math.nan, "<f4").tobytes())},
        good,
    ]
    results = await add(any_door, items)
    assert [one["id"] for one in results] == [one["id"] for one in items]
    assert [one["error"]["kind"] for one in results[:-1]] == [
        "invalid_image",
        "invalid_argument",
        "invalid_argument",
        "invalid_argument",
        "too_large",
        "invalid_argument",
        "invalid_argument",
    ]
    assert results[-1] == {"id": "good", "status": "created"}
    results = await add(any_door, [good, good, {"id": "nothing"}, {"id": "huge", "vector": [1e300] * 16}])
    assert [one["status"] for one in results] == ["updated", "failed", "failed", "failed"]
    assert "finite" in results[3]["error"]["detail"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({}, 400, "invalid_argument"),
        ({"items": []}, 400, "invalid_argument"),
        ({"items": [{"id": "a", "picture": "x"}]}, 400, "invalid_argument"),
        ({"items": [{"id": 3, "vector": [1.0]}]}, 400, "invalid_argument"),
        ({"items": [{"vector": [1.0]}] * 9}, 413, "too_large"),
    ],
)
async def test_calls_that_add_nothing(store_door: httpx.AsyncClient, body: Any, status: int, kind: str) -> None:
    refused(await store_door.post("/v1/collections/pets/items", json=body), status, kind)


async def test_forms_whose_columns_do_not_fit(store_door: httpx.AsyncClient) -> None:
    path = "/v1/collections/pets/items"
    files = [("image", colour(name)) for name in ("red", "blue")]
    for form in ({"id": ["one"]}, {"metadata": ["{}", "{}", "{}"]}, {"colour": "red"}):
        refused(await store_door.post(path, files=files, data=form), 400, "invalid_argument")
    refused(await store_door.post(path, files={"file": colour("red")}), 400, "invalid_argument")
    columns = {"id": ["good", "bad"], "metadata": ["{}", '{"a": 1, "a": 2}']}
    good, bad = (await store_door.post(path, files=files, data=columns)).json()["results"]
    assert (good["status"], bad["status"], bad["error"]["kind"]) == ("created", "failed", "invalid_argument")
    text = await store_door.post(path, content=b"a", headers={"content-type": "text/plain"})
    refused(text, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "a", "vector": [1.0] * 16},
        {"text": ""},
        {"text": "a", "k": 0},
        {"text": "a", "k": 1_000_000},
        {"text": "a", "k": 0, "rerank": {}},
        {"text": "a", "k": -5, "rerank": {}},
        {"text": "a", "k": "3"},
        {"text": "a", "model": "dummy-encoder"},
        {"text": "a", "filter": {}},
        {"text": "a", "filter": {"kind": {"like": "x"}}},
        {"text": "a", "rerank": {"k": 0}},
        {"text": "a", "ef_search": 0},
        {"vector": [1.0, 2.0]},
        {"vector": "AAA="},
        {"vector": [1e39] * 16},
        {"image": base64.b64encode(pictures.png()).decode(), "rerank": {}},
    ],
)
async def test_searches_that_are_refused(store_door: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    await add(store_door, json_items())
    refused(await store_door.post("/v1/collections/pets/search", json=fields), 400, "invalid_argument")
    assert len(ids(await search(store_door, text="the next one works"))) == 4


async def test_a_filter_on_a_field_that_nothing_has_finds_nothing(store_door: httpx.AsyncClient) -> None:
    await add(store_door, json_items())
    assert ids(await search(store_door, text="a", filter={"nowhere": 1})) == []


async def test_names_that_no_collection_can_have(store_door: httpx.AsyncClient) -> None:
    for name in ("a..b", ".hidden", "a b", "a" * 129, "naïve"):
        refused(await store_door.put(f"/v1/collections/{name}", json={}), 400, "invalid_argument")
    for path in ("a%2Fb", "..%2F..%2Fetc", "%2e%2e"):
        response = await store_door.put(f"/v1/collections/{path}", json={})
        assert response.status_code in (400, 404, 405)
    refused(await store_door.post("/v1/collections/missing/search", json={"text": "a"}), 404, "collection_not_found")
    refused(
        await store_door.post("/v1/collections/missing/items", json={"items": json_items()}),
        404,
        "collection_not_found",
    )
    assert [one["name"] for one in (await store_door.get("/v1/collections")).json()["collections"]] == ["pets"]


async def test_a_collection_without_pictures_refuses_reranking(store_door: httpx.AsyncClient) -> None:
    await store_door.put("/v1/collections/bare", json={"store_images": False})
    body = {"text": "a", "rerank": {}}
    refused(await store_door.post("/v1/collections/bare/search", json=body), 409, "no_pictures")


async def test_an_answer_is_held_until_it_is_sent(tmp_path: Path) -> None:
    """A client that does not read its picture keeps its bytes, and nobody else's."""
    async with collection_service(tmp_path) as service:
        app = create_app(service, ServerConfig())
        door = app.state.door
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
            await client.put("/v1/collections/pets", json={})
            await add(client, json_items()[:1])
        sent: list[int] = []
        go_on = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            sent.append(read_metric(door.metrics.registry, "vlpserve_http_in_flight_bytes"))
            await go_on.wait()

        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not messages:
                await asyncio.Event().wait()  # the client neither says more nor leaves
            return messages.pop()

        path = "/v1/collections/pets/items/red/image"
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
        scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "client": None, "server": None}
        answering = asyncio.create_task(app(scope, receive, send))
        async with asyncio.timeout(5):
            while not sent:
                await asyncio.sleep(0.001)
        assert sent == [len(colour("red"))]
        go_on.set()
        await answering
        assert read_metric(door.metrics.registry, "vlpserve_http_in_flight_bytes") == 0
