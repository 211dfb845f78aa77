import asyncio
import logging
import threading
import time
from dataclasses import replace

import pytest
from service_rig import DUMMY, Rig, picture, settle, until
from vlp_server.core.records import ModelState
from vlp_server.core.settings import AdmissionSettings, CacheSettings, EngineSettings, ModelSettings, WatchdogSettings
from vlp_server.engines.dummy_pipeline import DummyVqaPipeline
from vlp_spec.errors import (
    ConfigError,
    DeadlineError,
    InferenceError,
    InternalError,
    InvalidArgumentError,
    InvalidImageError,
    ModelNotFoundError,
    OverloadedError,
    TaskNotSupportedError,
    TooLargeError,
    UnavailableError,
)
from vlp_spec.tasks import Lane, VqaQuery

NO_CACHE = CacheSettings(answer_entries=0, image_entries=0)


async def stall(rig):
    """A request that blocks the dummy engine."""
    task = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("[stall]")]))
    assert await asyncio.to_thread(rig.engines[0].stalled.wait, 5)
    return task


async def test_answers_questions_in_their_order_with_timings():
    async with Rig() as rig:
        reply = await rig.service.vqa(picture(), [VqaQuery("what"), VqaQuery("how many", top_k=2)])
        assert reply.model == "dummy@1"
        assert [len(result.answers) for result in reply.results] == [5, 2]
        assert reply.timings.infer_ms > 0
        assert reply.timings.preprocess_ms > 0
        assert reply.timings.batch_items == 2
        assert rig.value("vlpserve_requests_total", model="dummy@1", task="vqa", outcome="ok") == 1


async def test_a_repeated_question_comes_from_the_cache_and_only_that_one():
    async with Rig() as rig:
        first = await rig.service.vqa(picture(), [VqaQuery("a"), VqaQuery("b")])
        again = await rig.service.vqa(picture(), [VqaQuery("c"), VqaQuery("b")])
        assert again.results[1] == first.results[1]
        assert (again.timings.cached, again.timings.batch_items) == (1, 1)
        assert rig.value("vlpserve_cache_total", cache="answer", result="hit") == 1
        assert rig.value("vlpserve_cache_total", cache="image", result="hit") == 1
        all_cached = await rig.service.vqa(picture(), [VqaQuery("b"), VqaQuery("a")])
        assert all_cached.results == [first.results[1], first.results[0]]
        assert (all_cached.timings.cached, all_cached.timings.infer_ms) == (2, 0.0)


@pytest.mark.parametrize(
    ("image", "query"),
    [
        (picture("blue"), VqaQuery("a")),
        (picture(), VqaQuery("b")),
        (picture(), VqaQuery("a", top_k=1)),
        (picture(), VqaQuery("a", candidates=("yes", "no"))),
    ],
)
async def test_another_picture_question_or_parameter_is_another_entry(image, query):
    async with Rig() as rig:
        await rig.service.vqa(picture(), [VqaQuery("a")])
        assert (await rig.service.vqa(image, [query])).timings.cached == 0


async def test_models_do_not_share_answers_but_share_prepared_pictures():
    async with Rig(DUMMY, ModelSettings(reference="other", engine=EngineSettings(engine="dummy"))) as rig:
        await rig.service.vqa(picture(), [VqaQuery("a")])
        reply = await rig.service.vqa(picture(), [VqaQuery("a")], model="other")
        assert (reply.model, reply.timings.cached) == ("other@1", 0)
        assert rig.value("vlpserve_cache_total", cache="image", result="hit") == 1


async def test_caches_can_be_off():
    async with Rig(cache=NO_CACHE) as rig:
        for _ in range(2):
            assert (await rig.service.vqa(picture(), [VqaQuery("a")])).timings.cached == 0
        assert rig.value("vlpserve_cache_total", cache="image", result="miss") == 0


async def test_many_questions_decode_the_picture_once_and_share_a_batch(monkeypatch):
    decoded = []
    prepare_image = DummyVqaPipeline.prepare_image
    monkeypatch.setattr(
        DummyVqaPipeline, "prepare_image", lambda self, data: decoded.append(1) or prepare_image(self, data)
    )
    async with Rig(cache=NO_CACHE) as rig:
        reply = await rig.service.vqa(picture(), [VqaQuery(f"q{index}") for index in range(8)])
        assert reply.timings.batch_items == 8
        assert decoded == [1]


async def test_identical_requests_in_flight_share_one_computation_and_one_may_leave():
    async with Rig(cache=NO_CACHE) as rig:
        blocked = await stall(rig)
        same = [asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a")])) for _ in range(4)]
        flights = rig.service._answers._answers._flights._flights
        await until(lambda: [flight.waiters for flight in flights.values()] == [1, 4])
        assert rig.value("vlpserve_queue_items", model="dummy@1") == 1
        same[0].cancel()
        await settle()
        assert rig.value("vlpserve_queue_items", model="dummy@1") == 1
        rig.engines[0].release()
        replies = await asyncio.gather(*same[1:])
        assert len({reply.results[0] for reply in replies}) == 1
        assert rig.value("vlpserve_batch_items_sum", model="dummy@1") == 2
        await blocked


async def test_a_caller_with_time_left_is_not_hurt_by_a_hastier_one_that_asked_the_same():
    async with Rig() as rig:
        blocked = await stall(rig)
        hasty = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a")], deadline=time.monotonic() + 0.05))
        patient = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a")]))
        with pytest.raises(DeadlineError):
            await hasty
        rig.engines[0].release()
        assert (await patient).results
        await blocked


async def test_a_cancelled_request_leaves_the_queue_and_is_counted():
    async with Rig() as rig:
        blocked = await stall(rig)
        waiting = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a"), VqaQuery("b")]))
        await until(lambda: rig.value("vlpserve_queue_items", model="dummy@1") == 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await settle()
        assert rig.value("vlpserve_queue_items", model="dummy@1") == 0
        assert rig.value("vlpserve_dropped_items_total", model="dummy@1", reason="cancelled") == 2
        assert rig.value("vlpserve_requests_total", model="dummy@1", task="vqa", outcome="cancelled") == 1
        rig.engines[0].release()
        await blocked


async def test_a_deadline_ends_the_wait_though_the_engine_is_busy():
    async with Rig() as rig:
        blocked = await stall(rig)
        with pytest.raises(DeadlineError):
            await rig.service.vqa(picture(), [VqaQuery("a")], deadline=time.monotonic() + 0.05)
        await settle()
        assert rig.value("vlpserve_dropped_items_total", model="dummy@1", reason="deadline") == 1
        with pytest.raises(DeadlineError):
            await rig.service.vqa(picture(), [VqaQuery("a")], deadline=time.monotonic() - 1)
        rig.engines[0].release()
        await blocked


async def test_one_bad_question_fails_its_request_alone():
    async with Rig() as rig:
        good = [asyncio.create_task(rig.service.vqa(picture(), [VqaQuery(f"q{index}")])) for index in range(3)]
        with pytest.raises(InferenceError):
            await rig.service.vqa(picture(), [VqaQuery("fine"), VqaQuery("[nan]")])
        assert all(reply.results for reply in await asyncio.gather(*good))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"image": b"not a picture"}, InvalidImageError),
        ({"image": picture()[:40]}, InvalidImageError),
        ({"image": b"x" * 2001}, TooLargeError),
        ({"image": picture(size=(300, 300))}, TooLargeError),
        ({"queries": []}, InvalidArgumentError),
        ({"queries": [VqaQuery("a")] * 65}, TooLargeError),
        ({"queries": [VqaQuery("x" * 101)]}, TooLargeError),
        ({"queries": [VqaQuery("a", candidates=("no such label",))]}, InvalidArgumentError),
        ({"model": "nobody"}, ModelNotFoundError),
        ({"model": "dummy@7"}, ModelNotFoundError),
    ],
)
async def test_bad_requests_have_their_own_error_and_the_next_one_works(arguments, error):
    async with Rig(max_image_bytes=2000, max_image_pixels=10_000, max_text_chars=100) as rig:
        with pytest.raises(error):
            await rig.service.vqa(**{"image": picture(), "queries": [VqaQuery("a")], **arguments})
        assert (await rig.service.vqa(picture(), [VqaQuery("a")])).results
        known = "unknown" if error is ModelNotFoundError else "dummy@1"
        assert rig.value("vlpserve_requests_total", model=known, task="vqa", outcome=str(error.kind)) == 1


async def test_a_bug_of_ours_is_an_internal_error_without_its_text(monkeypatch, caplog):
    async with Rig() as rig:
        monkeypatch.setattr(DummyVqaPipeline, "prepare", lambda *_: 1 / 0)
        with caplog.at_level(logging.CRITICAL), pytest.raises(InternalError, match="the server's log") as caught:
            await rig.service.vqa(picture(), [VqaQuery("a")])
        assert "division" not in caught.value.message


async def test_full_service_and_full_queue_refuse_with_a_time():
    admission = AdmissionSettings(max_requests=2)
    async with Rig(admission=admission) as rig:
        blocked = await stall(rig)
        waiting = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a")]))
        await until(lambda: rig.value("vlpserve_requests_inside") == 2)
        with pytest.raises(OverloadedError) as caught:
            await rig.service.vqa(picture(), [VqaQuery("b")])
        assert caught.value.retry_after_s >= 1.0
        rig.engines[0].release()
        await asyncio.gather(blocked, waiting)
        assert (await rig.service.vqa(picture(), [VqaQuery("b")])).results


async def test_draining_finishes_what_is_inside_and_refuses_the_rest():
    async with Rig() as rig:
        blocked = await stall(rig)
        assert not await rig.service.drain(0.0)
        with pytest.raises(UnavailableError):
            await rig.service.vqa(picture(), [VqaQuery("b")])
        readiness = rig.service.readiness()
        assert (readiness.ready, readiness.reason) == (False, "draining")
        rig.engines[0].release()
        assert await rig.service.drain(5.0)
        assert (await blocked).results


async def test_closing_fails_who_is_inside_and_may_be_repeated():
    async with Rig() as rig:
        blocked = await stall(rig)
        await rig.service.close()
        with pytest.raises(UnavailableError):
            await blocked
        await rig.service.close()


async def test_models_load_in_the_background_and_one_that_fails_spares_the_others(tmp_path, caplog):
    missing = ModelSettings(reference="missing", repository=tmp_path)
    rig = Rig(missing, DUMMY)
    with pytest.raises(UnavailableError, match="loading"):
        await rig.service.vqa(picture(), [VqaQuery("a")])
    assert rig.service.readiness().reason == "starting"
    with caplog.at_level(logging.CRITICAL):
        async with rig:
            readiness = rig.service.readiness()
            assert not readiness.ready
            assert readiness.models["dummy@1"] == "ready"
            assert "not in this repository" in readiness.models["missing"]
            assert (await rig.service.vqa(picture(), [VqaQuery("a")], model="dummy")).results
            with pytest.raises(UnavailableError, match="not in this repository"):
                await rig.service.vqa(picture(), [VqaQuery("a")])
            cards = rig.service.models()
            assert [(card.name, card.state, card.default) for card in cards] == [
                ("missing", ModelState.FAILED, True),
                ("dummy", ModelState.READY, False),
            ]
            assert rig.service.alive()


async def test_the_default_model_can_be_named():
    other = ModelSettings(reference="other", engine=EngineSettings(engine="dummy"))
    async with Rig(DUMMY, other, default_model="other") as rig:
        assert (await rig.service.vqa(picture(), [VqaQuery("a")])).model == "other@1"
        assert rig.service.models()[0].name == "other"
    with pytest.raises(ConfigError, match="none of the served models"):
        Rig(DUMMY, default_model="nobody")


async def test_a_task_that_the_model_does_not_do():
    async with Rig() as rig:
        served = next(iter(rig.service._directory))
        loaded = served.loaded
        object.__setattr__(loaded, "deployment", replace(loaded.deployment, tasks=()))
        with pytest.raises(TaskNotSupportedError):
            await rig.service.vqa(picture(), [VqaQuery("a")])


async def test_a_stalled_decoder_makes_it_unready_then_dead_and_recovers(monkeypatch):
    entered, go = threading.Event(), threading.Event()

    def hang(self, image):
        entered.set()
        go.wait(10)
        raise InvalidImageError("no")

    now = 0.0
    monkeypatch.setattr(DummyVqaPipeline, "prepare_image", hang)
    admission = AdmissionSettings(default_timeout_s=0.05)
    async with Rig(
        clock=lambda: now, watchdog=WatchdogSettings(stall_after_s=60, dead_after_s=600), admission=admission
    ) as rig:
        with pytest.raises(DeadlineError):
            await rig.service.vqa(picture(), [VqaQuery("a")])
        assert entered.is_set()
        assert rig.service.readiness().ready
        now = 61.0
        assert not rig.service.readiness().ready
        assert rig.service.readiness().reason == "stalled: a picture has been decoded for more than 60 s"
        assert rig.service.alive()
        now = 601.0
        assert not rig.service.alive()
        go.set()
        await until(lambda: rig.service.alive())
        assert rig.service.readiness().ready


async def test_a_stalled_engine_makes_it_unready_then_dead_and_recovers():
    class Clock:
        offset = 0.0

        def __call__(self):
            return time.monotonic() + self.offset

    clock = Clock()
    watchdog = WatchdogSettings(stall_after_s=60, dead_after_s=600)
    async with Rig(clock=clock, watchdog=watchdog) as rig:
        blocked = await stall(rig)
        assert rig.service.readiness().ready
        clock.offset = 61.0
        assert "stalled" in rig.service.readiness().models["dummy@1"]
        assert not rig.service.readiness().ready
        assert rig.service.alive()
        with pytest.raises(UnavailableError, match="stalled"):
            await rig.service.vqa(picture(), [VqaQuery("a")])
        clock.offset = 601.0
        assert not rig.service.alive()
        rig.engines[0].release()
        await blocked
        assert rig.service.readiness().ready
        assert rig.service.alive()


async def test_bulk_waits_behind_interactive():
    one_at_a_time = ModelSettings(
        reference="dummy", engine=EngineSettings(engine="dummy"), batch=DUMMY.batch.__class__(max_items=1)
    )
    async with Rig(one_at_a_time, cache=NO_CACHE) as rig:
        blocked = await stall(rig)
        order = []

        async def ask(question, lane):
            await rig.service.vqa(picture(), [VqaQuery(question)], lane=lane)
            order.append(question)

        bulk = asyncio.create_task(ask("bulk", Lane.BULK))
        await until(lambda: rig.value("vlpserve_queue_items", model="dummy@1") == 1)
        quick = asyncio.create_task(ask("quick", Lane.INTERACTIVE))
        await until(lambda: rig.value("vlpserve_queue_items", model="dummy@1") == 2)
        rig.engines[0].release()
        await asyncio.gather(blocked, bulk, quick)
        assert order == ["quick", "bulk"]
