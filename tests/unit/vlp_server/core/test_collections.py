import asyncio
import os
import time

import numpy as np
import pytest
from collection_rig import ENCODER, MATCHER, collection_service, embedded
from service_rig import DUMMY, Rig, picture, read_metric
from vector_items import OTHER_DIGEST, spec_of
from vlp_server.core.collection_records import AddReply, CollectionItem, CollectionSearch, CollectionWish, Rerank
from vlp_server.index.filters import parse_filter
from vlp_server.index.local import LocalStore
from vlp_server.index.settings import StoreSettings
from vlp_server.index.store import CollectionSpec, NewItem
from vlp_spec.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    DeadlineError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidImageError,
    ItemNotFoundError,
    NoPicturesError,
    TaskNotSupportedError,
    TooLargeError,
    UnavailableError,
)
from vlp_spec.tasks import MatchQuery

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
WISH = CollectionWish(name="pictures")


def item(colour, **members):
    return CollectionItem(id=colour, picture=picture(colour), metadata={"colour": colour}, **members)


def fault_of(result):
    assert result.status == "failed"
    return type(result.error)


async def fill(service, wish=WISH):
    await service.collections.create(wish)
    reply = await service.collections.add(wish.name, [item(colour) for colour in COLOURS])
    assert [result.status for result in reply.results] == ["created"] * len(COLOURS)
    return reply


async def find(service, name="pictures", **members):
    return await service.collections.search(name, CollectionSearch(**members))


def ids(reply):
    return [found.hit.id for found in reply.hits]


async def test_a_collection_names_its_encoder_and_is_made_once(tmp_path):
    async with collection_service(tmp_path) as service:
        made = await service.collections.create(WISH)
        encoder = service.encoder(ENCODER)
        assert (made.spec.model, made.spec.encoder_digest) == (f"{ENCODER}@1", encoder.digest)
        assert (made.spec.dimension, made.items) == (encoder.dimension, 0)
        assert await service.collections.create(WISH) == made
        with pytest.raises(CollectionExistsError):
            await service.collections.create(CollectionWish(name="pictures", metric="l2"))
        with pytest.raises(TaskNotSupportedError):
            await service.collections.create(CollectionWish(name="other", model=MATCHER))
        with pytest.raises(InvalidArgumentError):
            await service.collections.create(CollectionWish(name="a/b"))
        assert [info.spec.name for info in await service.collections.all()] == ["pictures"]


async def test_a_picture_finds_itself_and_every_answer_names_the_encoder(tmp_path):
    async with collection_service(tmp_path) as service:
        added = await fill(service)
        reply = await find(service, picture=picture("blue"), k=2)
        assert ids(reply)[0] == "blue"
        assert reply.hits[0].hit.score == pytest.approx(1.0)
        assert (reply.model, reply.encoder) == (added.model, added.encoder) == (f"{ENCODER}@1", added.encoder)
        assert (reply.timings.store_ms > 0, reply.reranked_by) == (True, None)


async def test_text_and_vector_find_what_their_vectors_are_near_to(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        vectors = (await service.embed([picture(colour) for colour in COLOURS])).vectors
        (said,) = (await service.embed(["something"])).vectors
        expected = [COLOURS[index] for index in np.argsort(-(vectors @ said))]
        assert ids(await find(service, text="something", k=6)) == expected
        assert ids(await find(service, vector=said, k=6)) == expected
        assert ids(await find(service, text="something", k=100)) == expected


async def test_a_filter_comes_before_the_search(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        condition = parse_filter({"colour": {"in": ["red", "white", "green"]}})
        found = await find(service, picture=picture("blue"), k=3, filter=condition)
        assert set(ids(found)) == {"red", "white", "green"}


async def test_an_item_fails_alone(tmp_path):
    async with collection_service(tmp_path, max_image_bytes=500) as service:
        await service.collections.create(WISH)
        noise = np.random.default_rng(0).bytes(600)
        items = [
            item("red"),
            CollectionItem(id="junk", picture=b"no picture"),
            CollectionItem(id="large", picture=noise),
            CollectionItem(id="empty"),
            CollectionItem(id="short", vector=np.ones(3, np.float32)),
            CollectionItem(id="nan", vector=np.full(16, np.nan, np.float32)),
            CollectionItem(id="vector", vector=np.ones(16, np.float32)),
            item("red"),
            CollectionItem(id="a/b", picture=picture("blue")),
            CollectionItem(id="heavy", picture=picture("blue"), metadata={"text": "x" * 70_000}),
        ]
        results = (await service.collections.add("pictures", items)).results
        assert [result.id for result in results] == [one.id for one in items]
        assert [result.status for result in results] == ["created", *["failed"] * 5, "created", *["failed"] * 3]
        assert [fault_of(result) for result in results if result.status == "failed"] == [
            InvalidImageError,
            TooLargeError,
            InvalidArgumentError,
            InvalidArgumentError,
            InvalidArgumentError,
            InvalidArgumentError,
            InvalidArgumentError,
            TooLargeError,
        ]
        assert (await service.collections.get("pictures")).items == 2


async def test_the_same_id_is_an_update_and_embeds_the_new_picture(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        changed = CollectionItem(id="red", picture=picture("blue"), metadata={"colour": "now blue"})
        (result,) = (await service.collections.add("pictures", [changed])).results
        assert result.status == "updated"
        assert set(ids(await find(service, picture=picture("blue"), k=2))) == {"red", "blue"}
        assert (await service.collections.get_item("pictures", "red")).metadata == {"colour": "now blue"}
        assert (await service.collections.get("pictures")).items == len(COLOURS)


async def test_items_can_be_looked_up_read_and_deleted(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        await service.collections.add("pictures", [CollectionItem(id="bare", vector=np.ones(16, np.float32))])
        data, digest = await service.collections.read_picture("pictures", "green")
        assert data == picture("green")
        assert await service.collections.known("pictures", ["green", "bare", "nobody"]) == {
            "green": digest,
            "bare": None,
        }
        with pytest.raises(ItemNotFoundError, match="has no picture"):
            await service.collections.read_picture("pictures", "bare")
        assert await service.collections.delete_item("pictures", "green")
        assert not await service.collections.delete_item("pictures", "green")
        with pytest.raises(ItemNotFoundError):
            await service.collections.get_item("pictures", "green")
        await service.collections.drop("pictures")
        with pytest.raises(CollectionNotFoundError):
            await find(service, text="anything")


async def test_the_first_hits_are_looked_at_again(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        await service.collections.add("pictures", [CollectionItem(id="bare", vector=np.ones(16, np.float32))])
        plain = await find(service, text="a cat", k=7)
        reply = await find(service, text="a cat", k=7, rerank=Rerank(k=7))
        scores = {
            colour: (await service.match(picture(colour), [MatchQuery("a cat")])).results[0].score for colour in COLOURS
        }
        assert ids(reply) == [*sorted(COLOURS, key=lambda colour: -scores[colour]), "bare"]
        assert [found.rerank_score for found in reply.hits] == [*sorted(scores.values(), reverse=True), None]
        assert (reply.reranked_by, reply.timings.rerank_ms > 0) == (f"{MATCHER}@1", True)

        some = await find(service, text="a cat", k=7, rerank=Rerank(k=3))
        first = [name for name in ids(plain)[:3] if name != "bare"]
        assert ids(some)[: len(first)] == sorted(first, key=lambda colour: -scores[colour])
        assert ids(some)[3:] == ids(plain)[3:]
        best = await find(service, text="a cat", k=1, rerank=Rerank(k=7))
        assert ids(best) == ids(reply)[:1]


async def test_reranking_wants_kept_pictures_a_text_and_a_matching_model(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        await service.collections.create(CollectionWish(name="bare", store_images=False))
        with pytest.raises(NoPicturesError):
            await find(service, "bare", text="a cat", rerank=Rerank())
        with pytest.raises(InvalidArgumentError, match="needs a text"):
            await find(service, picture=picture("red"), rerank=Rerank())
        with pytest.raises(TaskNotSupportedError):
            await find(service, text="a cat", rerank=Rerank(model=ENCODER))
        for k in (0, 51):
            with pytest.raises(InvalidArgumentError, match=r"rerank\.k"):
                await find(service, text="a cat", rerank=Rerank(k=k))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"text": "a", "picture": picture("red")},
        {"text": "  "},
        {"text": "a", "k": 0},
        {"text": "a", "k": -5, "rerank": Rerank()},
        {"text": "a", "k": 1_000_000},
        {"vector": np.ones(3, np.float32)},
        {"vector": np.full(16, np.inf, np.float32)},
    ],
)
async def test_searches_that_ask_for_nothing_sensible(tmp_path, members):
    async with collection_service(tmp_path) as service:
        await fill(service)
        with pytest.raises(InvalidArgumentError):
            await find(service, **members)


async def test_a_collection_of_another_encoder_refuses_pictures_and_texts(tmp_path):
    store = LocalStore(tmp_path)
    store.create(spec_of("named", 16, model=f"{ENCODER}@1", encoder_digest=OTHER_DIGEST))
    store.create(spec_of("strange", 16, model="nobody@1", encoder_digest=OTHER_DIGEST))
    store.close()
    async with collection_service(tmp_path) as service:
        for name in ("named", "strange"):
            with pytest.raises(EncoderMismatchError):
                await find(service, name, text="a cat")
            with pytest.raises(EncoderMismatchError):
                await service.collections.add(name, [item("red")])
            given = CollectionItem(id="one", vector=np.ones(16, np.float32))
            assert [one.status for one in (await service.collections.add(name, [given])).results] == ["created"]
            assert ids(await find(service, name, vector=np.ones(16, np.float32))) == ["one"]


async def test_an_encoder_under_another_name_goes_on_with_its_collection(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
    async with collection_service(tmp_path, ("renamed-encoder",)) as service:
        assert (await service.collections.create(WISH)).items == len(COLOURS)
        assert ids(await find(service, picture=picture("blue"), k=1)) == ["blue"]


async def test_nothing_is_embedded_twice_and_bulk_work_fills_no_cache(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        assert embedded(service) == len(COLOURS)
        await find(service, picture=picture("red"))
        await find(service, picture=picture("red"))
        assert embedded(service) == len(COLOURS) + 1


async def test_a_picture_beside_a_vector_is_looked_at_before_it_is_kept(tmp_path):
    async with collection_service(tmp_path) as service:
        await service.collections.create(WISH)
        vector = np.ones(16, np.float32)
        items = [
            CollectionItem(id="good", vector=vector, picture=picture("red")),
            CollectionItem(id="junk", vector=vector, picture=b"no picture"),
        ]
        good, junk = (await service.collections.add("pictures", items)).results
        assert (good.status, fault_of(junk)) == ("created", InvalidImageError)
        assert embedded(service) == 0


async def test_a_picture_that_cannot_be_looked_at_again_stays_behind(tmp_path):
    store = LocalStore(tmp_path)
    async with collection_service(tmp_path / "other") as service:
        encoder = service.encoder(ENCODER)
    spec = spec_of("pictures", 16, model=encoder.model, encoder_digest=encoder.digest)
    store.create(spec)
    # As an older server may have kept it.
    store.upsert("pictures", [NewItem(id="junk", vector=np.ones(16, np.float32), picture=b"no picture")])
    store.close()
    async with collection_service(tmp_path) as service:
        await service.collections.add("pictures", [item("red")])
        reply = await find(service, text="a cat", rerank=Rerank())
        assert ids(reply) == ["red", "junk"]
        assert reply.hits[1].rerank_score is None


async def test_what_was_begun_is_seen_through_when_the_caller_leaves(tmp_path):
    async with collection_service(tmp_path) as service:
        await service.collections.create(WISH)
        adding = asyncio.create_task(service.collections.add("pictures", [item(colour) for colour in COLOURS]))
        while not embedded(service):
            await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        async with asyncio.timeout(5):
            while (await service.collections.get("pictures")).items < len(COLOURS):
                await asyncio.sleep(0.01)
        assert embedded(service) == len(COLOURS)


async def test_closing_ends_additions_and_leaves_the_store_whole(tmp_path):
    async with collection_service(tmp_path) as service:
        await service.collections.create(WISH)
        adding = asyncio.create_task(service.collections.add("pictures", [item(colour) for colour in COLOURS]))
        await asyncio.sleep(0)
    outcome = await asyncio.gather(adding, return_exceptions=True)
    assert isinstance(outcome[0], asyncio.CancelledError | UnavailableError | AddReply)
    store = LocalStore(tmp_path)
    assert store.get("pictures").items in (0, len(COLOURS))
    store.close()


async def test_requests_without_a_model_are_counted_and_bounded_too(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        await service.collections.search("pictures", CollectionSearch(text="red"))
        await service.collections.get("pictures")
        with pytest.raises(DeadlineError):
            await service.collections.all(deadline=time.monotonic() - 1)
        counted = {
            (operation, outcome): read_metric(
                service.metrics, "vlpserve_requests_total", task=operation, outcome=outcome
            )
            for operation, outcome in (
                ("get_collection", "ok"),
                ("list_collections", "deadline_exceeded"),
                ("add_items", "ok"),
                ("search", "ok"),
            )
        }
        assert counted["list_collections", "deadline_exceeded"] == 1
        # Adding and searching look the collection up inside their own request.
        assert counted["get_collection", "ok"] == counted["add_items", "ok"] == counted["search", "ok"] == 1


async def test_a_deadline_that_has_passed_keeps_nothing(tmp_path):
    async with collection_service(tmp_path) as service:
        await service.collections.create(WISH)
        with pytest.raises(DeadlineError):
            await service.collections.add("pictures", [item("red")], deadline=time.monotonic() - 1)
        assert (await service.collections.get("pictures")).items == 0


async def test_a_call_of_too_many_items_is_refused_whole(tmp_path):
    async with collection_service(tmp_path, store=StoreSettings(max_items_per_call=3)) as service:
        await service.collections.create(WISH)
        with pytest.raises(TooLargeError):
            await service.collections.add("pictures", [item(colour) for colour in COLOURS])


async def test_deleting_while_searching(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)

        async def delete():
            for colour in COLOURS:
                await service.collections.delete_item("pictures", colour)

        async def search():
            return [ids(await find(service, text=f"text {number}", k=6)) for number in range(20)]

        answers, _ = await asyncio.gather(search(), delete())
        assert all(set(answer) <= set(COLOURS) for answer in answers)
        assert ids(await find(service, text="at last")) == []


async def test_without_a_store_there_are_no_collections():
    async with Rig(DUMMY) as rig:
        with pytest.raises(TaskNotSupportedError, match="keeps no collections"):
            _ = rig.service.collections


async def test_a_service_that_drains_lets_nothing_in(tmp_path):
    async with collection_service(tmp_path) as service:
        await fill(service)
        assert await service.drain(1.0)
        with pytest.raises(UnavailableError):
            await find(service, text="a cat")
        with pytest.raises(UnavailableError):
            await service.collections.add("pictures", [CollectionItem(id="one", vector=np.ones(16, np.float32))])


async def test_upkeep_removes_pictures_without_an_item(tmp_path):
    store = LocalStore(tmp_path)
    store.create(CollectionSpec(name="pictures", model="m", encoder_digest=OTHER_DIGEST, dimension=2))
    orphan = "0" * 64
    store.pictures.pictures.put({orphan: b"left by a killed process"})
    store.close()
    (path,) = [path for path in tmp_path.rglob(orphan) if path.is_file()]
    long_ago = time.time() - 7200
    os.utime(path, (long_ago, long_ago))
    async with collection_service(tmp_path):
        async with asyncio.timeout(5):
            while path.exists():
                await asyncio.sleep(0.01)
