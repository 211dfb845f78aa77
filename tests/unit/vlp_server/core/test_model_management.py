"""Models come and go while requests run."""

import asyncio
import threading
import time

import numpy as np
import pytest
from model_versions import NO_CACHE, QUESTION, Held, ask, dummy, has_gauge, meaning, publish_two, rounded, states
from service_rig import Rig, picture, read_metric, settle, tiny_model, until
from tiny_repository import build_graph, publish
from vlp_server.core.records import ModelState, VersionState
from vlp_server.core.settings import WatchdogSettings
from vlp_spec.errors import (
    DeadlineError,
    ModelConflictError,
    ModelNotFoundError,
    NoExtractorError,
    UnavailableError,
)
from vlp_spec.tasks import CaptionQuery, Task, VqaQuery


@pytest.fixture
def root(tmp_path):
    return publish_two(tmp_path)


async def test_a_new_version_is_asked_by_its_version_until_its_name_is_switched_to_it(root):
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        old = await ask(rig)
        rows = await rig.service.management.load("tiny", 2)
        assert [(row.version, row.state, row.current) for row in rows] == [
            (1, VersionState.SERVED, True),
            (2, VersionState.SERVED, False),
        ]
        new = await ask(rig, "tiny@2")
        assert (new.model, (await ask(rig)).model) == ("tiny@2", "tiny@1")
        assert new.results != old.results
        assert (await rig.service.vqa(picture(), [QUESTION])).model == "tiny@1"
        rows = await rig.service.management.switch("tiny", 2)
        assert [(row.version, row.current, row.previous) for row in rows] == [(1, False, True), (2, True, False)]
        assert (await ask(rig)).results == new.results
        assert (await rig.service.vqa(picture(), [QUESTION])).model == "tiny@2"
        assert [(card.version, card.default, card.default_for) for card in rig.service.models()] == [
            (2, True, (Task.VQA,)),
            (1, False, ()),
        ]
        assert (await ask(rig, "tiny@1")).results == old.results
        assert rig.service.readiness().ready


async def test_no_request_fails_while_a_version_is_loaded_switched_to_and_the_old_one_unloaded(root):
    async with Rig(tiny_model(root, "tiny@1"), cache=NO_CACHE) as rig:
        replies, stop = [], asyncio.Event()

        async def keep_asking(number):
            while not stop.is_set():
                reply = await ask(rig, query=VqaQuery("what colour is it", top_k=1 + number % 2))
                replies.append((number % 2, reply))

        callers = [asyncio.create_task(keep_asking(number)) for number in range(12)]
        await until(lambda: len(replies) > 30)
        await rig.service.management.load("tiny", 2)
        for version, other in ((2, 1), (1, 2), (2, 1)):
            await rig.service.management.load("tiny", version)
            seen = len(replies)
            await rig.service.management.switch("tiny", version)
            await until(lambda seen=seen: len(replies) > seen + 30)
            await rig.service.management.unload("tiny", other)
        seen = len(replies)
        await until(lambda: len(replies) > seen + 30)
        stop.set()
        await asyncio.gather(*callers)  # not one failed
        assert {reply.model for _, reply in replies[-12:]} == {"tiny@2"}
        for kind in (0, 1):
            answers = {(reply.model, rounded(reply)) for number, reply in replies if number == kind}
            assert {model for model, _ in answers} == {"tiny@1", "tiny@2"}
            assert len(answers) == len({results for _, results in answers}) == 2
        assert rig.value("vlpserve_requests_total", outcome="ok") == len(replies)


async def test_requests_inside_finish_on_the_old_version_and_unloading_waits_for_them(root):
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        before = await ask(rig)
        held = Held(rig.engines[0])
        await rig.service.management.load("tiny", 2)
        inside = await held.begin(ask(rig, query=VqaQuery("how many")))
        await rig.service.management.switch("tiny", 2)
        assert (await ask(rig)).model == "tiny@2"
        unloading = asyncio.create_task(rig.service.management.unload("tiny", 1))
        await until(lambda: (len(list(rig.service._directory))) == 1)
        with pytest.raises(ModelNotFoundError):
            await ask(rig, "tiny@1")
        (row,) = [row for row in await rig.service.management.versions("tiny") if row.version == 1]
        assert (row.state, row.requests) == (VersionState.UNLOADING, 1)
        with pytest.raises(DeadlineError, match="tiny@1' still has requests inside"):
            await rig.service.management.unload("tiny", 1, deadline=0.0)
        assert not unloading.done()
        held.go.set()
        assert (await inside).model == "tiny@1"
        rows = await unloading
        assert {row.version: row.state for row in rows} == {1: VersionState.ON_DISK, 2: VersionState.SERVED}
        assert not rig.engines[0].ready("tiny@1/fusion")
        for metric in ("vlpserve_model_ready", "vlpserve_queue_items", "vlpserve_queue_cost"):
            assert not has_gauge(rig, "tiny@1", metric)
            assert has_gauge(rig, "tiny@2", metric)
        await rig.service.management.load("tiny", 1)
        again = await ask(rig, "tiny@1")
        assert (again.results, again.timings.cached) == (before.results, 0)


async def test_a_version_that_fails_its_checks_changes_nothing_and_can_be_tried_again(root):
    publish(root, version=3, graph=build_graph(scale=5.0))
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        for _ in range(2):
            with pytest.raises(ModelConflictError, match="model 'tiny@3' cannot be served: canary: .*off by"):
                await rig.service.management.load("tiny", 3)
        (row,) = [row for row in await rig.service.management.versions() if row.version == 3]
        assert (row.state, row.current) == (VersionState.FAILED, False)
        assert "off by" in row.reason
        assert rig.service.readiness().ready
        assert [card.version for card in rig.service.models()] == [1]
        assert not has_gauge(rig, "tiny@3")
        with pytest.raises(ModelNotFoundError):
            await ask(rig, "tiny@3")
        with pytest.raises(ModelNotFoundError, match="load it first"):
            await rig.service.management.switch("tiny", 3)
        publish(root, version=3, scale=5.0)
        assert (await rig.service.management.load("tiny", 3))[-1].state is VersionState.SERVED
        assert (await ask(rig, "tiny@3")).model == "tiny@3"


async def test_rolling_back_leads_to_what_the_name_meant_before(root):
    publish(root, version=3, scale=0.5)
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        management = rig.service.management
        with pytest.raises(ModelConflictError, match="nothing to roll back to"):
            await management.rollback("tiny")
        for version in (2, 3):
            await management.load("tiny", version)
            await management.switch("tiny", version)
        await management.switch("tiny", 3)  # again: no further step to go back
        await management.rollback("tiny")
        assert meaning(rig) == "tiny@2"
        rows = await management.rollback("tiny")
        assert meaning(rig) == "tiny@1"
        assert [row.current for row in rows] == [True, False, False]
        with pytest.raises(ModelConflictError, match="nothing to roll back to"):
            await management.rollback("tiny")
        await management.switch("tiny", 2)
        await management.switch("tiny", 3)
        await management.unload("tiny", 2)
        await management.rollback("tiny")  # the step that is left
        assert meaning(rig) == "tiny@1"
        with pytest.raises(ModelNotFoundError):
            await management.rollback("other")


async def test_nobody_switches_or_rolls_back_to_a_version_that_has_failed(root):
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        await rig.service.management.load("tiny", 2)
        rig.service._directory.find("tiny@2")._fail("its weights have rotted")
        with pytest.raises(UnavailableError, match="rotted"):
            await rig.service.management.switch("tiny", 2)
        assert rig.service.readiness().ready  # it is on trial
        await rig.service._directory.find("tiny@2").check_canary()
        await rig.service.management.switch("tiny", 2)
        rig.service._directory.find("tiny@1")._fail("its weights have rotted")
        assert rig.service.readiness().ready  # the name means another one
        with pytest.raises(UnavailableError, match="rotted"):
            await rig.service.management.rollback("tiny")
        assert meaning(rig) == "tiny@2"
        rig.service._directory.find("tiny@2")._fail("its weights have rotted")
        assert not rig.service.readiness().ready


async def test_what_a_name_means_stays_unless_it_is_the_last_and_forced(root):
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        management = rig.service.management
        await management.load("tiny", 2)
        for force in (False, True):
            with pytest.raises(ModelConflictError, match="switch to another version first: tiny@2"):
                await management.unload("tiny", 1, force=force)
        await management.unload("tiny", 2)
        with pytest.raises(ModelConflictError, match="nothing else could answer for 'tiny'"):
            await management.unload("tiny", 1)
        assert (await ask(rig)).model == "tiny@1"
        await management.unload("tiny", 1, force=True)
        for name in ("tiny", "tiny@1", None):
            with pytest.raises(ModelNotFoundError, match="there are: none"):
                await ask(rig, name)
        assert not rig.service.readiness().ready
        assert rig.service.models() == []
        with pytest.raises(ModelNotFoundError, match="not served here; load it first"):
            await management.unload("tiny", 1)
        await management.load("tiny", 2)
        await management.switch("tiny", 2)
        assert (await ask(rig, None)).model == "tiny@2"
        assert rig.service.readiness().ready


async def test_several_versions_may_be_configured_and_all_have_to_be_ready_until_one_is_chosen(root):
    async with Rig(tiny_model(root, "tiny@1"), tiny_model(root, "tiny@2")) as rig:
        assert (meaning(rig), (await ask(rig, None)).model) == ("tiny@2", "tiny@1")
        rig.service._directory.find("tiny@1")._fail("off")
        assert not rig.service.readiness().ready
        await rig.service.management.switch("tiny", 2)
        assert rig.service.readiness().ready  # it means what it meant, and now nothing else
        await rig.service._directory.find("tiny@1").check_canary()
        await rig.service.management.switch("tiny", 1)
        await rig.service.management.switch("tiny", 2)
        assert (await ask(rig, None)).model == "tiny@2"


async def test_what_could_not_be_loaded_at_the_start_can_be_loaded_later(root):
    publish(root, version=2, graph=build_graph(scale=5.0))
    async with Rig(tiny_model(root, "tiny"), dummy("dummy")) as rig:
        assert await states(rig) == {1: VersionState.ON_DISK, 2: VersionState.FAILED}
        assert not rig.service.readiness().ready
        publish(root, version=2)
        await rig.service.management.load("tiny", 2)
        assert rig.service.readiness().ready
        assert await states(rig) == {1: VersionState.ON_DISK, 2: VersionState.SERVED}
        assert (await ask(rig, None)).model == "tiny@2"
        assert rig.value("vlpserve_model_ready", model="tiny@2") == 1
        assert not has_gauge(rig, "tiny")


async def test_a_failed_one_of_the_start_can_be_unloaded(root):
    publish(root, version=2, graph=build_graph(scale=5.0))
    async with Rig(tiny_model(root, "tiny@2"), dummy("dummy")) as rig:
        await rig.service.management.unload("tiny", 2, force=True)
        assert rig.service.readiness().ready
        assert await states(rig) == {1: VersionState.ON_DISK, 2: VersionState.ON_DISK}
        assert not has_gauge(rig, "tiny@2")


async def test_other_models_of_the_repository_can_be_loaded_and_take_no_calls_by_themselves(root):
    publish(root, "other", version=7)
    async with Rig(tiny_model(root, "tiny@1"), dummy("dummy-encoder")) as rig:
        assert await states(rig, "other") == {7: VersionState.ON_DISK}
        await rig.service.management.load("other", 7)
        with pytest.raises(ModelNotFoundError):
            await ask(rig, "other")
        await rig.service.management.unload("tiny", 1, force=True)
        assert rig.service._directory.default_for(Task.VQA).label == "dummy-encoder@1"  # which refuses
        await rig.service.management.switch("other", 7)
        assert (await ask(rig, "other")).model == (await ask(rig, None)).model == "other@7"
        with pytest.raises(ModelConflictError, match="nothing to roll back to"):
            await rig.service.management.rollback("other")


@pytest.mark.parametrize("name", ["", "nobody", "../tiny", "tiny/..", ".", "x" * 10_000, "a\0b", "tiny@1", "dummy"])
async def test_only_names_and_versions_of_the_served_repositories_can_be_loaded(name, root):
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        with pytest.raises(ModelNotFoundError) as caught:
            await rig.service.management.load(name, 1)
        assert len(caught.value.message) < 300
        with pytest.raises(ModelNotFoundError, match="no version 9 on disk; there are 1, 2"):
            await rig.service.management.load("tiny", 9)
        with pytest.raises(ModelNotFoundError):
            await rig.service.management.unload(name, 1)
        with pytest.raises(ModelNotFoundError):
            await rig.service.management.versions(name)


class SlowRig(Rig):
    """Engines after the first are made when they are let go; counts those that are being made."""

    def __init__(self, *models, **core):
        self.go, self.entered = threading.Event(), threading.Event()
        self.at_work, self.most = 0, 0
        super().__init__(*models, **core)

    def _make(self, settings):
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            if self.engines:
                self.entered.set()
                assert self.go.wait(10)
            return super()._make(settings)
        finally:
            self.at_work -= 1

    async def __aexit__(self, *details):
        self.go.set()
        await super().__aexit__(*details)


async def test_loading_goes_on_after_its_caller_and_the_same_again_joins_it(root):
    publish(root, version=3)
    async with SlowRig(tiny_model(root, "tiny@1")) as rig:
        management = rig.service.management
        with pytest.raises(DeadlineError, match="tiny@2' is still being loaded"):
            await management.load("tiny", 2, deadline=0.0)
        assert await asyncio.to_thread(rig.entered.wait, 5)
        assert await states(rig) == {1: VersionState.SERVED, 2: VersionState.LOADING, 3: VersionState.ON_DISK}
        left = asyncio.create_task(management.load("tiny", 2))
        same, next_one = (asyncio.create_task(management.load("tiny", version)) for version in (2, 3))
        await settle()
        left.cancel()
        assert (await ask(rig)).model == "tiny@1"
        rig.go.set()
        assert [row.state for row in await same][:2] == [VersionState.SERVED, VersionState.SERVED]
        await next_one
        assert (rig.most, len(rig.engines)) == (1, 3)
        await management.load("tiny", 2)  # it is served: nothing to do
        assert len(rig.engines) == 3


async def test_closing_the_service_ends_what_is_under_way(root):
    async with SlowRig(tiny_model(root, "tiny@1")) as rig:
        held = Held(rig.engines[0])
        inside = await held.begin(ask(rig))
        unloading = asyncio.create_task(rig.service.management.unload("tiny", 1, force=True))
        loading = asyncio.create_task(rig.service.management.load("tiny", 2))
        assert await asyncio.to_thread(rig.entered.wait, 5)
        await rig.service.close()
        for call in (inside, unloading, loading):
            with pytest.raises(UnavailableError):
                await call
        with pytest.raises(UnavailableError):
            await rig.service.management.load("tiny", 2)
        held.go.set()


async def test_nothing_is_loaded_before_the_start(root):
    rig = Rig(tiny_model(root, "tiny@1"))
    with pytest.raises(UnavailableError, match="starting"):
        await rig.service.management.load("tiny", 2)
    await rig.service.close()


async def test_what_is_being_loaded_at_the_start_cannot_be_unloaded_and_later_loads_wait_for_it(root):
    rig = SlowRig(tiny_model(root, "tiny@1"), tiny_model(root, "tiny@2"))
    await rig.service.start()
    assert await asyncio.to_thread(rig.entered.wait, 5)
    with pytest.raises(ModelConflictError, match="is being loaded"):
        await rig.service.management.unload("tiny", 2, force=True)
    joining = asyncio.create_task(rig.service.management.load("tiny", 2))
    await settle()
    rig.go.set()
    assert [row.state for row in await joining] == [VersionState.SERVED, VersionState.SERVED]
    assert len(rig.engines) == 2
    await rig.service.close()


async def test_an_unloaded_version_that_still_has_requests_inside_is_loaded_again_after_them(root):
    async with Rig(tiny_model(root, "tiny@1"), tiny_model(root, "tiny@2")) as rig:
        held = Held(rig.engines[0])
        inside = await held.begin(ask(rig, "tiny@1"))
        with pytest.raises(DeadlineError):
            await rig.service.management.unload("tiny", 1, deadline=0.0)
        loading = asyncio.create_task(rig.service.management.load("tiny", 1))
        await settle()
        assert len(rig.engines) == 2
        held.go.set()
        assert (await inside).model == "tiny@1"
        await loading
        assert (await ask(rig, "tiny@1")).model == "tiny@1"
        assert len(rig.engines) == 3


async def test_a_stream_holds_its_model_until_it_is_left():
    async with Rig(dummy("dummy-captioner"), dummy("dummy")) as rig:
        stream = rig.service.stream_caption(picture(), CaptionQuery())
        await anext(stream)
        unloading = asyncio.create_task(rig.service.management.unload("dummy-captioner", 1, force=True))
        await settle()
        assert not unloading.done()
        async for _ in stream:
            pass
        await unloading
        with pytest.raises(ModelNotFoundError):
            await rig.service.caption(picture(), CaptionQuery(), model="dummy-captioner")


async def test_an_extractor_is_kept_for_its_readers_and_for_those_who_are_using_it():
    async with Rig(dummy("dummy-reader"), dummy("dummy-extractor"), dummy("dummy")) as rig:
        management = rig.service.management
        with pytest.raises(ModelConflictError, match="region features that dummy-reader@1 read"):
            await management.unload("dummy-extractor", 1)
        held = Held(rig.engines[1])
        inside = await held.begin(ask(rig, "dummy-reader"))
        unloading = asyncio.create_task(management.unload("dummy-extractor", 1, force=True))
        await settle()
        assert not unloading.done()
        held.go.set()
        assert (await inside).results
        await unloading
        with pytest.raises(NoExtractorError):
            await rig.service.vqa(picture("blue"), [QUESTION], model="dummy-reader")
        assert rig.service.readiness().ready


async def test_a_canary_that_was_under_way_brings_back_no_gauge(root):
    async with Rig(tiny_model(root, "tiny@1"), tiny_model(root, "tiny@2")) as rig:
        model = rig.service._directory.find("tiny@1")
        held = Held(rig.engines[0])
        checks = rig.service._watchdog._checks
        checks[model] = await held.begin(model.check_canary())
        unloading = asyncio.create_task(rig.service.management.unload("tiny", 1))
        await until(unloading.done)
        held.go.set()
        await settle()
        rig.service._watchdog.tick()
        assert not has_gauge(rig, "tiny@1")
        assert model not in checks


async def test_an_engine_that_cannot_unload_is_closed_all_the_same(root, caplog):
    async with Rig(tiny_model(root, "tiny@1"), tiny_model(root, "tiny@2")) as rig:
        engine = rig.engines[0]
        engine.unload = lambda key: 1 / 0
        with pytest.raises(
            ModelConflictError, match="'tiny@1' is served here no more, but its engine could not unload"
        ):
            await rig.service.management.unload("tiny", 1)
        assert not engine.ready("tiny@1/fusion")
        assert "its engine could not unload it" in caplog.text
        assert await states(rig) == {1: VersionState.ON_DISK, 2: VersionState.SERVED}


async def test_the_list_of_versions_does_not_wait_for_an_engine_that_hangs_as_it_unloads(root):
    async with Rig(tiny_model(root, "tiny@1"), tiny_model(root, "tiny@2")) as rig:
        go, engine = threading.Event(), rig.engines[0]
        engine.unload = lambda key: go.wait(10)
        try:
            unloading = asyncio.create_task(rig.service.management.unload("tiny", 1))
            await until(lambda: rig.service._loader.leaving)
            async with asyncio.timeout(5):
                assert await states(rig) == {1: VersionState.UNLOADING, 2: VersionState.SERVED}
        finally:
            go.set()
        await unloading


async def test_a_version_on_trial_that_hangs_is_no_reason_to_restart():
    class Clock:
        offset = 0.0

        def __call__(self):
            return time.monotonic() + self.offset

    clock, watchdog = Clock(), WatchdogSettings(stall_after_s=60, dead_after_s=600)
    async with Rig(dummy("dummy"), dummy("other"), clock=clock, watchdog=watchdog) as rig:
        trial = next(model for model in rig.service._directory if model.is_called("other"))
        rig.service._directory._configured.discard(trial)  # as if it had been added later
        blocked = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("[stall]")], model="other@1"))
        assert await asyncio.to_thread(rig.engines[1].stalled.wait, 5)
        clock.offset = 601.0
        assert not trial.alive()
        assert rig.service.alive()
        rig.service._directory.switch("other", trial)
        assert not rig.service.alive()
        rig.engines[1].release()
        await blocked


async def test_answers_of_versions_are_kept_apart(root):
    async with Rig(tiny_model(root, "tiny@1")) as rig:
        await ask(rig)
        await rig.service.management.load("tiny", 2)
        await rig.service.management.switch("tiny", 2)
        fresh = await ask(rig)
        assert (fresh.model, fresh.timings.cached) == ("tiny@2", 0)
        assert (await ask(rig)).timings.cached == 1
        await rig.service.management.rollback("tiny")
        kept = await ask(rig)
        assert (kept.model, kept.timings.cached) == ("tiny@1", 1)
        assert np.any([one != other for one, other in zip(kept.results, fresh.results, strict=True)])
        assert read_metric(rig.service.metrics, "vlpserve_model_ready") == 2
        assert all(model.state is ModelState.READY for model in rig.service._directory)
