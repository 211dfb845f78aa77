"""Messages that are small on the wire and large in memory, or long to read, are refused before they are read."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pictures_made as pictures
import pytest
from collection_rig import collection_service
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from grpc_rig import ALL_MODELS, Rig, open_grpc, picture_of, trailing
from vlp_proto.vlp.v1 import collections_pb2 as pb
from vlp_proto.vlp.v1 import content_pb2, vision_language_pb2
from vlp_server.config import ServerConfig
from vlp_server.grpc import adding, collections, structs, wire_parts
from vlp_server.intake.room import Room
from vlp_server.intake.shared import Shared

PICTURE = picture_of(pictures.png())


def numbers(count: int) -> Struct:
    values = ListValue(values=[Value(number_value=0.0) for _ in range(count)])
    return Struct(fields={"a": Value(list_value=values)})


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return trailing(caught.value)["error-kind"], caught.value.details()


@pytest.fixture
async def things(rig: Rig) -> Rig:
    await rig.collections.CreateCollection(pb.CreateCollectionRequest(name="things"))
    return rig


async def test_more_parts_than_any_call_needs(scripted_rig: Rig) -> None:
    request = vision_language_pb2.VqaRequest(questions=[""] * (wire_parts.MAX_PARTS + 1))
    kind, told = await refused(scripted_rig.vision.Vqa(request))
    assert kind == "too_large"
    assert "parts" in told


async def test_parts_hold_memory_beside_their_bytes(scripted: Any) -> None:
    room = Room(max_requests=9, max_bytes=100_000)
    many = vision_language_pb2.VqaRequest(picture=PICTURE, questions=[""] * 2000)
    async with open_grpc(scripted, shared=replace(Shared.of(ServerConfig(), None), room=room)) as rig:
        with room.enter() as take:
            take(1)
            assert (await refused(rig.vision.Vqa(many)))[0] == "overloaded"
        # Alone it may hold more, and its questions are at fault.
        assert (await refused(rig.vision.Vqa(many)))[0] in ("too_large", "invalid_argument")


async def test_a_filter_too_large_to_be_one_is_not_made_into_objects(
    things: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Any) -> Any:
        raise AssertionError("was read")

    monkeypatch.setattr(collections, "read_struct", never)
    search = pb.SearchRequest(
        collection="things", text="a", filter=Struct(fields={"a": Value(string_value="a" * 2_000_000)})
    )
    assert (await refused(things.collections.Search(search)))[0] == "too_large"


async def test_a_large_filter_is_read_beside_the_loop(things: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noted(struct: Any) -> Any:
        threads.append(threading.current_thread())
        return structs.read_struct(struct)

    monkeypatch.setattr(collections, "read_struct", noted)
    search = pb.SearchRequest(collection="things", text="a", filter=numbers(3000))
    assert (await refused(things.collections.Search(search)))[0] == "invalid_argument"
    assert threads
    assert threading.main_thread() not in threads


async def test_metadata_too_large_to_be_any_are_the_fault_of_their_item(
    things: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    monkeypatch.setattr(adding, "read_struct", lambda struct: read.append(struct) or structs.read_struct(struct))
    items = [
        pb.NewItem(id="large", picture=PICTURE, metadata=numbers(40_000)),
        pb.NewItem(id="long", vector=content_pb2.Vector(values=[0.0] * 32_769)),
        pb.NewItem(id="sound", picture=PICTURE),
    ]
    call = things.collections.AddItems(iter([pb.AddItemsRequest(collection="things", items=items)]))
    (response,) = [response async for response in call]
    assert [one.error.kind for one in response.results] == ["too_large", "invalid_argument", ""]
    assert read == [Struct()]


async def test_metadata_as_large_as_may_be_are_kept(things: Rig) -> None:
    # Of all values, numbers of one digit have the most bytes for their JSON.
    metadata = numbers(32_000)
    item = pb.NewItem(id="a", picture=PICTURE, metadata=metadata)
    call = things.collections.AddItems(iter([pb.AddItemsRequest(collection="things", items=[item])]))
    (response,) = [response async for response in call]
    assert response.results[0].status == pb.ITEM_STATUS_CREATED


async def test_a_vector_that_no_collection_has_is_not_searched_for(things: Rig) -> None:
    search = pb.SearchRequest(collection="things", vector=content_pb2.Vector(values=[0.0] * 32_769))
    kind, told = await refused(things.collections.Search(search))
    assert kind == "invalid_argument"
    assert "32768 numbers" in told


async def test_messages_with_too_many_items_wait_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an earlier message is worked on, what comes next is looked at, and holds no memory when it is refused."""
    config = ServerConfig()
    config = replace(config, store=replace(config.store, max_items_per_call=2))
    began, go, looked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    add, check = adding.add_sent, adding.check_count

    async def held(*args: Any) -> Any:
        began.set()
        await go.wait()
        return await add(*args)

    def noted(name: str, count: int, limit: int) -> None:
        if count > limit:
            looked.set()
        check(name, count, limit)

    monkeypatch.setattr(adding, "add_sent", held)
    monkeypatch.setattr(adding, "check_count", noted)
    async with collection_service(tmp_path, ALL_MODELS) as service, open_grpc(service, config) as rig:
        await rig.collections.CreateCollection(pb.CreateCollectionRequest(name="things"))
        call = rig.collections.AddItems()
        await call.write(pb.AddItemsRequest(collection="things", items=[pb.NewItem(id="a", picture=PICTURE)]))
        await asyncio.wait_for(began.wait(), 20)
        await call.write(pb.AddItemsRequest(items=[pb.NewItem()] * 3))
        await asyncio.wait_for(looked.wait(), 20)
        go.set()
        assert (await call.read()).results[0].id == "a"
        assert (await refused(call.read()))[0] == "too_large"
        assert rig.server.door.room.inside == 0


async def test_scores_of_no_regions_are_not_made_into_numbers(rig: Rig) -> None:
    box = content_pb2.Box(x0=0.0, y0=0.0, x1=1.0, y1=1.0)
    regions = content_pb2.Regions(boxes=[box], features=bytes(16), scores=[0.5] * 1000)
    picture = content_pb2.Picture(regions=regions)
    kind, told = await refused(rig.vision.Vqa(vision_language_pb2.VqaRequest(picture=picture, questions=["a"])))
    assert kind == "invalid_argument"
    assert "1000 scores for 1 boxes" in told
