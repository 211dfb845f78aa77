"""Regions on their way from a picture to a model that reads them: found once, kept, shared, forgotten."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from service_rig import DUMMY, Rig, picture, until
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import check_regions
from vlp_server.core.records import ModelState
from vlp_server.core.settings import CacheSettings, EngineSettings, ModelSettings
from vlp_spec.errors import ArtifactError, InvalidArgumentError, InvalidImageError, NoExtractorError, UnavailableError
from vlp_spec.tasks import GroundingQuery, ReasoningQuery, VqaQuery


def dummy(reference):
    return ModelSettings(reference=reference, engine=EngineSettings(engine="dummy"))


EXTRACTOR, READER, POINTER = dummy("dummy-extractor"), dummy("dummy-reader"), dummy("dummy-reader-grounding")
OTHER_READER = dummy("b-reader-grounding")
SENT = check_regions(np.array([[0, 0, 0.5, 0.5]]), np.arange(8.0)[None])


def model_of(rig, reference):
    return next(model for model in rig.service._directory if model.settings.reference == reference)


def seen(rig):
    """Pictures that the extractor's first graph was asked about."""
    return rig.value("vlpserve_batch_items_sum", model="dummy-extractor@1", role="backbone")


async def ask(rig, image=None, text="a", model="dummy-reader"):
    return await rig.service.vqa(picture() if image is None else image, [VqaQuery(text)], model=model)


async def test_one_picture_is_looked_at_once_whatever_is_asked_of_it():
    async with Rig(EXTRACTOR, READER, POINTER) as rig:
        first = await ask(rig)
        assert first.timings.regions_ms > 0
        assert (await ask(rig, text="b")).timings.regions_ms == 0
        await rig.service.grounding(picture(), [GroundingQuery("c")])
        found = await rig.service.regions(picture())
        assert found.timings.regions_ms == 0
        assert seen(rig) == 1
        await ask(rig, picture("blue"))
        assert seen(rig) == 2
        lookups = [rig.value("vlpserve_cache_total", cache="regions", result=result) for result in ("hit", "miss")]
        assert lookups == [3, 2]


async def test_found_regions_give_the_same_answer_when_they_are_sent():
    async with Rig(EXTRACTOR, READER) as rig:
        found = await rig.service.regions(picture())
        by_picture = await ask(rig)
        by_regions = await ask(rig, found.found.regions)
        assert by_picture.results == by_regions.results
        assert by_regions.timings.regions_ms == 0
        assert (await ask(rig, SENT)).results != by_picture.results


async def test_requests_at_the_same_time_share_the_look():
    async with Rig(EXTRACTOR, READER) as rig:
        replies = await asyncio.gather(*(ask(rig, text=text) for text in "abcd"))
        assert len({str(reply.results) for reply in replies}) == 4
        assert seen(rig) == 1


async def test_both_pictures_of_a_statement_are_looked_at():
    async with Rig(EXTRACTOR, dummy("a-reader-reasoning")) as rig:
        images = (picture("red"), picture("blue"))
        await rig.service.reasoning(images, [ReasoningQuery("a")])
        assert seen(rig) == 2
        await rig.service.reasoning(images[::-1], [ReasoningQuery("a")])
        assert seen(rig) == 2


@pytest.mark.parametrize(
    ("cache", "looks"),
    [
        (CacheSettings(), 2),
        (CacheSettings(region_entries=1), 3),
        (CacheSettings(region_entries=0), 3),
        (CacheSettings(region_bytes=0), 3),
        (CacheSettings(region_bytes=300), 3),  # smaller than the regions of one picture
    ],
)
async def test_regions_are_kept_within_their_own_bounds(cache, looks):
    async with Rig(EXTRACTOR, READER, cache=cache) as rig:
        for image, text in (("red", "a"), ("blue", "a"), ("red", "b")):
            await ask(rig, picture(image), text)
        assert seen(rig) == looks


async def test_a_broken_picture_is_told_and_not_kept():
    async with Rig(EXTRACTOR, READER, DUMMY) as rig:
        for _ in range(2):
            with pytest.raises(InvalidImageError):
                await ask(rig, b"no picture")
        assert seen(rig) == 0
        with pytest.raises(InvalidArgumentError, match=r"features: got shape \(1, 3\)"):
            await ask(rig, check_regions(np.array([[0, 0, 1, 1]]), np.ones((1, 3))))
        with pytest.raises(InvalidArgumentError, match="reads pictures, not regions"):
            await ask(rig, SENT, model="dummy")


def rot(model, output):
    """Let the canary fail as it does when weights change in memory; returns what undoes it."""
    outputs = model.loaded.canary.outputs[output]
    sound = outputs.copy()
    outputs[0, 0] += np.float32(1.0)
    return lambda: outputs.__setitem__(slice(None), sound)


@pytest.mark.parametrize("output", ["corners", "region_logits", "region_features"])
async def test_regions_of_a_distrusted_extractor_go_and_so_do_the_answers_that_rest_on_them(output):
    async with Rig(EXTRACTOR, READER, OTHER_READER, DUMMY) as rig:
        extractor = model_of(rig, "dummy-extractor")
        await ask(rig)
        await rig.service.grounding(picture(), [GroundingQuery("a")], model="b-reader-grounding")
        await ask(rig, model="dummy")
        assert (await ask(rig)).timings.cached == 1
        repair = rot(extractor, output)
        await extractor.check_canary()
        assert extractor.state is ModelState.FAILED
        with pytest.raises(UnavailableError, match="'dummy-extractor@1' is not ready: .*off by"):
            await ask(rig)
        with pytest.raises(UnavailableError):
            await rig.service.regions(picture())
        assert (await ask(rig, model="dummy")).timings.cached == 1  # it never looked at regions
        await ask(rig, SENT)  # what is sent rests on nobody
        repair()
        await extractor.check_canary()
        again = await ask(rig)
        assert (again.timings.cached, again.timings.regions_ms > 0) == (0, True)
        pointed = await rig.service.grounding(picture(), [GroundingQuery("a")], model="b-reader-grounding")
        assert (pointed.timings.cached, pointed.timings.regions_ms) == (0, 0)


async def test_an_answer_that_was_under_way_when_its_extractor_failed_is_not_kept():
    async with Rig(EXTRACTOR, READER) as rig:
        extractor, go, entered = model_of(rig, "dummy-extractor"), threading.Event(), threading.Event()
        run = rig.engines[1].run

        def slowly(key, feeds):
            entered.set()
            go.wait(10)
            return run(key, feeds)

        rig.engines[1].run = slowly
        call = asyncio.create_task(ask(rig))
        assert await asyncio.to_thread(entered.wait, 5)
        repair = rot(extractor, "corners")
        await extractor.check_canary()
        repair()
        await extractor.check_canary()
        go.set()
        await call
        assert (await ask(rig)).timings.cached == 0
        assert (await ask(rig)).timings.cached == 1


async def test_a_distrusted_reader_takes_no_regions_with_it():
    async with Rig(EXTRACTOR, READER, POINTER) as rig:
        reader = model_of(rig, "dummy-reader")
        await ask(rig)
        await rig.service.grounding(picture(), [GroundingQuery("a")])
        repair = rot(reader, "logits")
        await reader.check_canary()
        with pytest.raises(UnavailableError, match="'dummy-reader@1' is not ready"):
            await ask(rig)
        assert (await rig.service.grounding(picture(), [GroundingQuery("a")])).timings.cached == 1
        repair()
        await reader.check_canary()
        again = await ask(rig)
        assert (again.timings.cached, again.timings.regions_ms) == (0, 0)


class HeldRig(Rig):
    """The engine of the second model waits to be let go, or breaks where it is told to."""

    def __init__(self, *models, fault=None, **core):
        self.go, self.fault = threading.Event(), fault
        super().__init__(*models, **core)

    def _make(self, settings):
        if self.engines:
            self.go.wait(10)
            if self.fault is not None:
                raise self.fault
        return super()._make(settings)

    async def __aenter__(self):
        await self.service.start()
        first = next(iter(self.service._directory))
        await until(lambda: first.state is ModelState.READY)
        return self

    async def __aexit__(self, *details):
        self.go.set()
        await super().__aexit__(*details)


async def test_while_its_extractor_is_loading_a_reader_takes_regions_alone():
    async with HeldRig(READER, EXTRACTOR) as rig:
        with pytest.raises(UnavailableError, match="model 'dummy-extractor' is not ready: loading") as caught:
            await ask(rig)
        assert caught.value.retry_after_s == 2.0
        assert (await ask(rig, SENT)).results
        rig.go.set()
        await rig.service.wait_ready(10)
        assert (await ask(rig)).timings.regions_ms > 0


async def test_any_model_that_is_loading_may_turn_out_to_be_the_extractor():
    async with HeldRig(READER, dummy("some-extractor")) as rig:
        with pytest.raises(UnavailableError, match="model 'some-extractor' is not ready: loading"):
            await ask(rig)
        rig.go.set()
        await rig.service.wait_ready(10)
        # Of another name, but what it gives is the same to the bit.
        assert (await ask(rig)).timings.regions_ms > 0


async def test_an_extractor_that_could_not_be_loaded_is_not_ready():
    async with HeldRig(READER, EXTRACTOR, fault=ArtifactError("its graph is damaged")) as rig:
        rig.go.set()
        await rig.service.wait_ready(10)
        with pytest.raises(UnavailableError, match="'dummy-extractor' is not ready: its graph is damaged") as caught:
            await ask(rig)
        assert caught.value.retry_after_s == 30.0
        assert (await ask(rig, SENT)).results


async def test_another_model_that_could_not_be_loaded_is_none():
    async with HeldRig(READER, dummy("other"), fault=ArtifactError("damaged")) as rig:
        rig.go.set()
        await rig.service.wait_ready(10)
        with pytest.raises(NoExtractorError, match="region features of 'dummy-extractor' .*not served here"):
            await ask(rig)


async def test_a_reader_that_names_no_extractor_says_so():
    async with Rig(EXTRACTOR) as rig:
        reader = SimpleNamespace(regions=RegionSettings(8))
        with pytest.raises(NoExtractorError, match="send them as `regions`: no extractor is named"):
            rig.service._directory.extractor_for(reader)
        other = SimpleNamespace(regions=RegionSettings(8, extractor="dummy-extractor", extractor_digest="0" * 64))
        with pytest.raises(NoExtractorError, match=r"'dummy-extractor' \(000000000000\), which is not served here"):
            rig.service._directory.extractor_for(other)
