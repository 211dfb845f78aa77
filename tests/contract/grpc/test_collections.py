"""Collections over gRPC: made, filled by a stream, looked at, searched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pictures_made as pictures
import pytest
from collection_rig import collection_service
from google.protobuf.struct_pb2 import Struct
from grpc_rig import ALL_MODELS, Rig, open_grpc, picture_of, trailing
from service_rig import read_metric
from vlp_proto.vlp.v1 import collections_pb2, content_pb2
from vlp_server.config import ServerConfig

pb = collections_pb2
PICTURE = picture_of(pictures.png())
FAILED = pb.ITEM_STATUS_FAILED


def struct(values: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(values)
    return made


def item(number: int, **fields: Any) -> pb.NewItem:
    values = {"id": f"item-{number}", "picture": PICTURE, "metadata": struct({"n": number, "even": number % 2 == 0})}
    return pb.NewItem(**values | fields)


def messages(*batches: list[pb.NewItem]) -> Iterator[pb.AddItemsRequest]:
    for index, items in enumerate(batches):
        yield pb.AddItemsRequest(collection="things" if index == 0 else "", items=items)


async def added(rig: Rig, *batches: list[pb.NewItem], **options: Any) -> list[list[tuple[str, int]]]:
    call = rig.collections.AddItems(messages(*batches), **options)
    return [[(one.id, one.status) for one in response.results] async for response in call]


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@pytest.fixture
async def things(rig: Rig) -> Rig:
    """A rig with a collection."""
    await rig.collections.CreateCollection(pb.CreateCollectionRequest(name="things"))
    return rig


async def test_a_collection_lives(rig: Rig) -> None:
    index = pb.IndexSettings(kind=pb.INDEX_KIND_IVF_PQ, flat_below=10, nprobe=3)
    request = pb.CreateCollectionRequest(name="things", metric=pb.METRIC_DOT, store_images=False, index=index)
    made = (await rig.collections.CreateCollection(request)).collection
    assert (made.name, made.model, made.metric) == ("things", "dummy-encoder@1", pb.METRIC_DOT)
    assert (made.store_images, made.items, made.dimension) == (False, 0, 16)
    settings = made.index_settings
    assert (settings.kind, settings.flat_below, settings.nprobe) == (pb.INDEX_KIND_IVF_PQ, 10, 3)
    assert settings.hnsw_links == 32
    assert made.index.kind == pb.INDEX_KIND_UNSPECIFIED
    again = await rig.collections.CreateCollection(request)
    assert again.collection == made
    got = await rig.collections.GetCollection(pb.GetCollectionRequest(name="things"))
    assert got.collection == made
    listed = await rig.collections.ListCollections(pb.ListCollectionsRequest())
    assert list(listed.collections) == [made]
    other = await refused(rig.collections.CreateCollection(pb.CreateCollectionRequest(name="things")))
    assert other.code() is grpc.StatusCode.ALREADY_EXISTS
    await rig.collections.DeleteCollection(pb.DeleteCollectionRequest(name="things"))
    gone = await refused(rig.collections.GetCollection(pb.GetCollectionRequest(name="things")))
    assert (gone.code(), trailing(gone)["error-kind"]) == (grpc.StatusCode.NOT_FOUND, "collection_not_found")


async def test_defaults_are_those_of_http(rig: Rig) -> None:
    made = (await rig.collections.CreateCollection(pb.CreateCollectionRequest(name="a"))).collection
    assert (made.metric, made.store_images) == (pb.METRIC_COSINE, True)
    assert made.index_settings.kind == pb.INDEX_KIND_HNSW


async def test_values_that_no_enum_has_are_refused(rig: Rig) -> None:
    metric = await refused(rig.collections.CreateCollection(pb.CreateCollectionRequest(name="a", metric=9)))
    assert trailing(metric)["error-field"] == "metric"
    index = pb.IndexSettings(kind=9)
    kind = await refused(rig.collections.CreateCollection(pb.CreateCollectionRequest(name="a", index=index)))
    assert trailing(kind)["error-field"] == "index.kind"


async def test_each_message_gets_the_results_of_its_items(things: Rig) -> None:
    results = await added(things, [item(0), item(1)], [item(2, picture=picture_of(b"none"))], [item(0), item(3)])
    new, again = pb.ITEM_STATUS_CREATED, pb.ITEM_STATUS_UPDATED
    assert [[one_id for one_id, _ in message] for message in results] == [
        ["item-0", "item-1"],
        ["item-2"],
        ["item-0", "item-3"],
    ]
    assert results[0][1] == ("item-1", new)
    assert results[1] == [("item-2", FAILED)]
    assert results[2][1] == ("item-3", new)
    assert {status for _, status in (results[0][0], results[2][0])} <= {new, again}
    info = await things.collections.GetCollection(pb.GetCollectionRequest(name="things"))
    assert info.collection.items == 3


async def test_a_result_is_there_before_the_stream_ends(things: Rig) -> None:
    call = things.collections.AddItems()
    await call.write(pb.AddItemsRequest(collection="things", items=[item(0)]))
    first = await call.read()
    assert [one.id for one in first.results] == ["item-0"]
    got = await things.collections.GetItem(pb.GetItemRequest(collection="things", id="item-0"))
    assert got.item.id == "item-0"
    await call.write(pb.AddItemsRequest(items=[item(1)]))
    assert [one.id for one in (await call.read()).results] == ["item-1"]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert things.server.door.room.inside == 0


async def test_a_fault_of_an_item_is_its_own(things: Rig) -> None:
    faulty = [
        pb.NewItem(id="none"),
        pb.NewItem(id="empty", picture=content_pb2.Picture()),
        pb.NewItem(id="regions", picture=content_pb2.Picture(regions=content_pb2.Regions())),
        pb.NewItem(id="url", picture=content_pb2.Picture(url="http://host/a.png")),
        pb.NewItem(id="short", vector=content_pb2.Vector(values=[1.0])),
        pb.NewItem(id="long", vector=content_pb2.Vector(values=[0.5] * 32_769)),
        pb.NewItem(id="nan", vector=content_pb2.Vector(values=[float("nan")] * 16)),
        item(0, id="meta", metadata=struct({"n": float("inf")})),
        item(0, id=""),
    ]
    call = things.collections.AddItems(messages([*faulty, item(1)]))
    (response,) = [response async for response in call]
    *failed, kept = response.results
    assert [one.status for one in failed] == [FAILED] * len(faulty)
    assert {one.error.kind for one in failed} == {"invalid_argument"}
    assert all(one.error.detail for one in failed)
    assert "more than 32768 numbers" in next(one.error.detail for one in failed if one.id == "long")
    assert (kept.id, kept.status) == ("item-1", pb.ITEM_STATUS_CREATED)


async def test_vectors_of_the_encoder_are_kept_as_they_are(things: Rig) -> None:
    values = np.linspace(-1, 1, 16)
    vector = content_pb2.Vector(values=values)
    await added(things, [pb.NewItem(id="v", vector=vector)])
    found = await things.collections.Search(pb.SearchRequest(collection="things", vector=vector))
    assert [(hit.id, hit.score) for hit in found.hits] == [("v", pytest.approx(1.0, abs=1e-6))]


async def test_the_same_key_keeps_nothing_twice(things: Rig) -> None:
    nameless = [pb.NewItem(picture=PICTURE), pb.NewItem(picture=PICTURE)]
    with_key = {"metadata": (("idempotency-key", "try-1"),)}
    first = await added(things, nameless[:1], nameless[1:], **with_key)
    second = await added(things, nameless, **with_key)
    assert [one_id for message in first for one_id, _ in message] == [one_id for one_id, _ in second[0]]
    other = await added(things, nameless, metadata=(("idempotency-key", "try-2"),))
    assert {one_id for one_id, _ in other[0]}.isdisjoint(one_id for one_id, _ in second[0])
    info = await things.collections.GetCollection(pb.GetCollectionRequest(name="things"))
    assert info.collection.items == 4


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ([pb.AddItemsRequest(items=[item(0)])], "collection"),
        ([pb.AddItemsRequest(collection="things")], "items"),
        (
            [
                pb.AddItemsRequest(collection="things", items=[item(0)]),
                pb.AddItemsRequest(collection="other", items=[item(1)]),
            ],
            "collection",
        ),
    ],
)
async def test_a_stream_that_is_none_is_refused(sent: list[Any], field: str, things: Rig) -> None:
    call = things.collections.AddItems(iter(sent))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing(caught.value)["error-field"] == field
    assert things.server.door.room.inside == 0


async def test_an_empty_stream_is_refused(things: Rig) -> None:
    call = things.collections.AddItems(iter([]))
    assert (await refused(call.read())).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_collection_that_is_not_there_ends_the_stream(rig: Rig) -> None:
    call = rig.collections.AddItems(messages([item(0)]))
    assert (await refused(call.read())).code() is grpc.StatusCode.NOT_FOUND


async def test_a_long_stream_holds_no_more_than_its_share(tmp_path: Path) -> None:
    """Far more bytes than the room has go through it one after another."""
    config = ServerConfig()
    config = replace(config, http=replace(config.http, max_in_flight_bytes=40_000))
    padded = struct({"text": "a" * 9_000})
    async with collection_service(tmp_path, ALL_MODELS) as service, open_grpc(service, config) as rig:
        await rig.collections.CreateCollection(pb.CreateCollectionRequest(name="things"))
        with rig.server.door.room.enter() as take:
            take(1)  # not alone
            call = rig.collections.AddItems()
            for number in range(20):
                first = "things" if number == 0 else ""
                await call.write(pb.AddItemsRequest(collection=first, items=[item(number, metadata=padded)]))
                response = await call.read()
                assert [one.id for one in response.results] == [f"item-{number}"]
            await call.done_writing()


async def test_a_stream_that_falls_silent_is_ended(tmp_path: Path) -> None:
    config = ServerConfig()
    config = replace(config, http=replace(config.http, body_timeout_s=0.1))
    async with collection_service(tmp_path, ALL_MODELS) as service, open_grpc(service, config) as rig:
        await rig.collections.CreateCollection(pb.CreateCollectionRequest(name="things"))
        call = rig.collections.AddItems()
        await call.write(pb.AddItemsRequest(collection="things", items=[item(0)]))
        assert [one.id for one in (await call.read()).results] == ["item-0"]
        assert (await refused(call.read())).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert rig.server.door.room.inside == 0


async def test_a_caller_who_leaves_loses_nothing_that_was_acknowledged(things: Rig) -> None:
    call = things.collections.AddItems()
    await call.write(pb.AddItemsRequest(collection="things", items=[item(0)]))
    await call.read()
    call.cancel()
    while things.server.door.room.inside:
        await asyncio.sleep(0)
    known = await things.collections.LookupItems(pb.LookupItemsRequest(collection="things", ids=["item-0", "item-9"]))
    assert [one.id for one in known.items] == ["item-0"]


async def test_an_item_and_its_picture_are_looked_at_and_forgotten(things: Rig) -> None:
    metadata = {"n": 3, "half": 0.5, "text": "é", "list": [1, None, True], "deep": {"a": {"b": 2}}}
    await added(things, [item(0, metadata=struct(metadata))])
    asked = pb.GetItemRequest(collection="things", id="item-0")
    got = (await things.collections.GetItem(asked)).item
    kept = await things.server.door.service.collections.get_item("things", "item-0")
    assert kept.metadata == metadata
    assert type(kept.metadata["n"]) is int
    assert got.metadata == struct(metadata)
    assert got.image_stored
    sent = await things.collections.GetItemPicture(pb.GetItemPictureRequest(collection="things", id="item-0"))
    assert (sent.content, sent.sha256) == (pictures.png(), got.image_sha256)
    deleting = pb.DeleteItemRequest(collection="things", id="item-0")
    await things.collections.DeleteItem(deleting)
    again = await refused(things.collections.DeleteItem(deleting))
    assert trailing(again)["error-kind"] == "item_not_found"
    assert (await refused(things.collections.GetItem(asked))).code() is grpc.StatusCode.NOT_FOUND


async def test_searches_by_words_by_picture_with_filter_and_a_second_look(things: Rig) -> None:
    await added(things, [item(number, picture=picture_of(pictures.jpeg())) for number in range(6)])
    by_words = await things.collections.Search(pb.SearchRequest(collection="things", text="a cat", k=4))
    assert len(by_words.hits) == 4
    assert by_words.model == "dummy-encoder@1"
    assert by_words.reranked_by == ""
    assert not by_words.hits[0].HasField("rerank_score")
    by_picture = await things.collections.Search(
        pb.SearchRequest(collection="things", picture=picture_of(pictures.jpeg()), filter=struct({"even": True}))
    )
    assert {int(hit.metadata["n"]) for hit in by_picture.hits} == {0, 2, 4}
    assert by_picture.hits[0].score == pytest.approx(1.0, abs=1e-5)
    looked = await things.collections.Search(
        pb.SearchRequest(collection="things", text="a cat", k=3, rerank=pb.Rerank(k=2), exact=True)
    )
    assert looked.reranked_by == "dummy-matcher@1"
    assert [hit.HasField("rerank_score") for hit in looked.hits] == [True, True, False]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": " "},
        {"text": "a", "k": 0},
        {"text": "a", "k": 100_000},
        {"text": "a", "filter": struct({"a": {"gte": float("nan")}})},
        {"text": "a", "filter": struct({})},
        {"vector": content_pb2.Vector()},
        {"vector": content_pb2.Vector(values=[0.5] * 32_769)},
        {"picture": content_pb2.Picture(regions=content_pb2.Regions())},
    ],
)
async def test_a_search_that_is_none_is_refused(fields: dict[str, Any], things: Rig) -> None:
    error = await refused(things.collections.Search(pb.SearchRequest(collection="things", **fields)))
    assert (error.code(), trailing(error)["error-kind"]) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_argument")


async def test_messages_that_wait_are_added_together(things: Rig) -> None:
    count = 200
    results = await added(things, *[[item(number)] for number in range(count)])
    assert [message[0][0] for message in results] == [f"item-{number}" for number in range(count)]
    metrics = things.server.door.service.metrics
    assert 0 < read_metric(metrics, "vlpserve_requests_total", task="add_items") < count
