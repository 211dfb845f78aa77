"""The SDK's two twins over both of its transports against one real server: four clients, the same answers.

The blocking twin is used inside of a running event loop here, as in a notebook.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pictures_made as pictures
import pytest
import region_files
from server_process import ServerProcess
from vlp_client import (
    AsyncClient,
    CapacityError,
    Client,
    ConnectError,
    NewItem,
    PermissionDeniedError,
    Regions,
    RequestError,
    Rerank,
    ServerError,
    TimeoutError,
    Timeouts,
    picture,
)

MODELS = (
    "dummy",
    "dummy-encoder",
    "dummy-matcher",
    "dummy-captioner",
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-extractor",
    "dummy-reader",
)
LEFT, RIGHT = pictures.png(), pictures.encode(pictures.gradient().rotate(180), "PNG")
REGIONS = Regions(region_files.BOXES.tolist(), region_files.FEATURES.tolist(), region_files.SCORES.tolist())
WAYS = ("http", "http async", "grpc", "grpc async")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server"), *MODELS) as server:
        yield server


def open_client(server: ServerProcess, way: str, **options: Any) -> Any:
    url = server.grpc_url if way.startswith("grpc") else server.url
    return AsyncClient(url, **options) if way.endswith("async") else Client(url, **options)


async def closed(client: Any) -> None:
    await get(client.aclose() if isinstance(client, AsyncClient) else client.close())


@pytest.fixture(params=WAYS)
async def client(server: ServerProcess, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    opened = open_client(server, request.param)
    yield opened
    await closed(opened)


@pytest.fixture
async def reference(server: ServerProcess) -> AsyncIterator[Client]:
    with Client(server.url) as opened:
        yield opened


async def get(value: Any) -> Any:
    """What either twin answers."""
    return await value if inspect.isawaitable(value) else value


async def every(values: Any) -> list[Any]:
    """All that an iterator of either twin yields."""
    return [value async for value in values] if hasattr(values, "__aiter__") else list(values)


def told(reply: Any) -> Any:
    """A record without its timings, of which no two are alike."""
    return {name: getattr(reply, name) for name in reply.__dataclass_fields__ if name != "timings_ms"}


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("vqa", (LEFT, "what?"), {"top_k": 3, "model": "dummy"}),
    ("vqa", (LEFT, ["a?", "b?"]), {"answers": ["red", "blue"], "deadline_s": 20.0}),
    ("vqa", (None, "what?"), {"regions": REGIONS, "model": "dummy-reader"}),
    ("vqa", (None, "what?"), {"regions": region_files.npz(), "model": "dummy-reader"}),
    ("classify", (LEFT, ["red", "blue"]), {"templates": ["a {}."]}),
    ("match", (LEFT, ["red", "blue"]), {}),
    ("entailment", (LEFT, "a"), {}),
    ("entailment", (LEFT, ["a", "b"]), {}),
    ("reasoning", ((LEFT, RIGHT), "both"), {}),
    ("reasoning", ((LEFT, RIGHT), ["both", "none"]), {}),
    ("grounding", (LEFT, "the left"), {"top_k": 2}),
    ("grounding", (LEFT, ["the left", "the right"]), {}),
    ("caption", (LEFT,), {}),
    ("caption", (LEFT, "a"), {"num_beams": 2, "num_captions": 2, "max_tokens": 4}),
    ("caption", (LEFT,), {"temperature": 1.0, "top_p": 0.9, "seed": 3}),
    ("regions", (LEFT,), {}),
    ("regions", (LEFT,), {"features": True}),
    ("embed", (["words", picture(LEFT)],), {"model": "dummy-encoder"}),
    ("models", (), {}),
]


@pytest.mark.parametrize(("verb", "arguments", "options"), CALLS, ids=lambda value: str(value)[:30])
async def test_every_verb_answers_the_same_on_all_ways(
    client: Any, reference: Client, verb: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    reply = await get(getattr(client, verb)(*arguments, **options))
    expected = getattr(reference, verb)(*arguments, **options)
    if verb == "models":
        assert reply == expected
        return
    assert type(reply) is type(expected)
    assert reply.timings_ms["total"] > 0
    assert told(reply) == told(expected)


async def test_a_caption_word_by_word(client: Any, reference: Client) -> None:
    stream = await get(client.stream_caption(LEFT, num_beams=1))
    words = await every(stream)
    assert stream.answer is not None
    assert "".join(words) == stream.answer.best == reference.caption(LEFT, num_beams=1).best
    assert stream.answer.timings_ms["total"] > 0
    left_early = await get(client.stream_caption(LEFT, num_beams=1))
    if isinstance(client, AsyncClient):
        async with left_early as words:
            assert await anext(words)
    else:
        with left_early as words:
            assert next(words)
    assert await every(left_early) == []
    assert left_early.answer is None


async def test_a_collection_from_beginning_to_end(client: Any, request: pytest.FixtureRequest) -> None:
    name = f"pets-{request.node.callspec.params['client'].replace(' ', '-')}"
    pets = client.collection(name)
    made = await get(pets.create(model="dummy-encoder", metric="dot", index={"kind": "flat"}))
    assert (made.name, made.model, made.metric, made.items) == (name, "dummy-encoder@1", "dot", 0)
    assert await get(pets.create(model="dummy-encoder", metric="dot", index={"kind": "flat"})) == made
    items = [
        NewItem(image=LEFT, id="left", metadata={"n": 1, "deep": {"x": [1.5, "a", None, True]}}),
        NewItem(image=RIGHT, id="right", metadata={"n": 2}),
        NewItem(vector=[1.0] * made.dimension, id="vector"),
        NewItem(image=b"no picture", id="bad"),
    ]
    added = await get(pets.add(items))
    assert [one.status for one in added.results] == ["created"] * 3 + ["failed"]
    assert [one.kind for one in added.failed] == ["invalid_image"]
    unnamed = [await get(pets.add([NewItem(image=LEFT)], idempotency_key="k1")) for _ in range(2)]
    assert unnamed[0].results[0].id == unnamed[1].results[0].id
    await get(pets.delete(unnamed[0].results[0].id))

    known = await get(pets.lookup(["left", "vector", "nobody"]))
    assert (known.keys(), known["vector"], len(known["left"])) == ({"left", "vector"}, None, 64)
    item = await get(pets.get("left"))
    assert item.metadata == items[0].metadata
    assert isinstance(item.metadata["n"], int)
    assert await get(pets.image("left")) == LEFT
    hits = await get(pets.search(image=LEFT, k=2, filter={"n": {"lt": 2}}, exact=True))
    assert [hit.id for hit in hits.hits] == ["left"]
    again = await get(pets.search("words", rerank=Rerank(k=2)))
    assert again.reranked_by == "dummy-matcher@1"
    near = await get(pets.search(vector=[1.0] * made.dimension, k=1))
    assert near.hits[0].id == "vector"
    assert (await get(pets.info())).items == 3
    assert name in [info.name for info in await get(client.collections())]
    await get(pets.drop())
    with pytest.raises(RequestError) as gone:
        await get(pets.info())
    assert (gone.value.kind, gone.value.status) == ("collection_not_found", 404)


async def test_errors_are_the_same_on_all_ways(client: Any) -> None:
    with pytest.raises(RequestError) as bad:
        await get(client.vqa(b"nothing", "what?"))
    assert (bad.value.kind, bad.value.status) == ("invalid_image", 422)
    assert bad.value.request_id
    with pytest.raises(RequestError) as unknown:
        await get(client.vqa(LEFT, "what?", model="other"))
    assert (unknown.value.kind, unknown.value.status) == ("model_not_found", 404)
    with pytest.raises(RequestError) as wrong:
        await get(client.vqa(LEFT, "what?", top_k=0))
    assert (wrong.value.kind, wrong.value.field) == ("invalid_argument", "top_k")
    with pytest.raises(ServerError) as failed:
        await get(client.vqa(LEFT, "[fail]"))
    assert (failed.value.kind, failed.value.status) == ("inference_failed", 500)
    with pytest.raises(RequestError) as stream:
        await get(client.stream_caption(b"nothing"))
    assert stream.value.kind == "invalid_image"


async def test_a_deadline_passes(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy") as stalling:
        for way in WAYS:
            client = open_client(stalling, way)
            with pytest.raises(CapacityError) as late:
                await get(client.vqa(LEFT, "[stall]", deadline_s=0.1))
            assert (late.value.kind, late.value.status) == ("deadline_exceeded", 504)
            await closed(client)


async def test_a_wait_of_the_clients_own_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        for way in WAYS:
            url = f"{way.partition(' ')[0]}://127.0.0.1:{silent.getsockname()[1]}"
            kind = AsyncClient if way.endswith("async") else Client
            client: Any = kind(url, timeout_s=Timeouts(read_s=0.1), retries=None)
            with pytest.raises(TimeoutError):
                await get(client.vqa(LEFT, "what?"))
            await closed(client)


async def test_readiness_and_administration(client: Any) -> None:
    assert await get(client.ready()) is True
    try:
        versions = await get(client.admin.versions())
    except PermissionDeniedError:
        return  # the server has no keys, and its operator has not opened this
    assert {version.name for version in versions} >= set(MODELS)


async def test_bulk_runs_keep_to_the_limits_that_a_server_tells(tmp_path: Path) -> None:
    limits = {"VLPSERVE_LIMITS_INPUTS": "5", "VLPSERVE_CACHE_EMBEDDING_ENTRIES": "0"}
    with ServerProcess(tmp_path, "dummy-encoder", **limits) as server:
        for way in WAYS:
            client = open_client(server, way)
            results = await every(client.embed_many([f"{way} {number}" for number in range(12)]))
            assert [result.ok for result in results] == [True] * 12
            await closed(client)
        answered = httpx.get(f"{server.url}/metrics", trust_env=False).text
    asked = [line for line in answered.splitlines() if line.startswith("vlpserve_requests_total{")]
    # Twelve texts are three calls; halves of what was refused for its size would be four.
    assert all('outcome="ok"' in line for line in asked)
    assert sum(float(line.rsplit(" ", 1)[1]) for line in asked) == 3 * len(WAYS)


async def test_nobody_there() -> None:
    for way in WAYS:
        url = f"{way.partition(' ')[0]}://127.0.0.1:9"
        client = AsyncClient(url, retries=None) if way.endswith("async") else Client(url, retries=None)
        with pytest.raises(ConnectError) as caught:
            await get(client.models())
        assert caught.value.sent is False
        await closed(client)


async def test_bulk_runs_give_the_same_on_all_ways(client: Any, reference: Client, tmp_path: Path) -> None:
    items = [f"words {number}" for number in range(30)] + [b"no picture", LEFT]
    options: dict[str, Any] = {"model": "dummy-encoder", "batch": 8, "journal": tmp_path / "j"}
    results = await every(client.embed_many(items, **options))
    expected = reference.embed([*items[:30], picture(LEFT)], model="dummy-encoder").vectors
    assert [result.index for result in results if not result.ok] == [30]
    found = [result.unwrap() for result in results if result.ok]
    assert np.array_equal(np.stack(found), np.stack(expected))
    again = await every(client.embed_many(items, **options))
    assert sum(result.known for result in again) == 31
    answers = await every(client.vqa_many([(LEFT, "a?"), (LEFT, "b?")], top_k=1, model="dummy"))
    assert answers[1].unwrap().answers == reference.vqa(LEFT, "b?", top_k=1, model="dummy").answers


async def test_index_runs_give_the_same_on_all_ways(client: Any, request: pytest.FixtureRequest) -> None:
    name = f"many-{request.node.callspec.params['client'].replace(' ', '-')}"
    await get(client.collection(name).create(model="dummy-encoder"))
    items = [NewItem(image=pictures.encode(pictures.Image.new("RGB", (9, 9), (n, 0, 0)), "PNG")) for n in range(20)]
    first = await every(client.index_many(name, items, batch=6))
    assert {result.unwrap().status for result in first} == {"created"}
    again = await every(client.index_many(name, items, batch=6))
    assert {result.unwrap().status for result in again} == {"present"}
    assert (await get(client.collection(name).info())).items == 20


def test_the_same_status_for_each_kind_as_the_http_door_has() -> None:
    from vlp_client.errors import STATUS_OF_KIND
    from vlp_server.http.problems import STATUS
    from vlp_spec.errors import ErrorKind

    never_sent = {ErrorKind.CANCELLED, ErrorKind.CONFIG, ErrorKind.ARTIFACT, ErrorKind.PROOF}
    sent = {str(kind): status for kind, status in STATUS.items() if kind not in never_sent}
    assert sent == {kind: STATUS_OF_KIND.get(kind) for kind in sent}


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for way in WAYS:
        client = open_client(server, way, retries=None)
        assert await get(client.ready()) is True
        await closed(client)
    assert httpx.get(f"{server.url}/livez", trust_env=False).status_code == 200
