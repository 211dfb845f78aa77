import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from service_rig import Rig, picture, until
from vlp_pipeline.regions import check_regions
from vlp_server.core.records import CaptionPiece, QueryReply
from vlp_server.core.settings import CacheSettings, EngineSettings, ModelSettings
from vlp_spec.errors import DeadlineError, InferenceError, InvalidArgumentError, InvalidImageError, UnavailableError
from vlp_spec.tasks import CaptionQuery, Decoding

CAPTIONER = ModelSettings(reference="dummy-captioner", engine=EngineSettings(engine="dummy"))
SLOW = ModelSettings(reference="dummy-captioner", engine=EngineSettings(engine="dummy", dummy_latency_s=0.02))
NO_CACHE = CacheSettings(answer_entries=0)


def long(**wanted):
    return CaptionQuery(decoding=Decoding(max_tokens=200, min_tokens=200, **wanted))


async def read_all(stream):
    async with aclosing(stream) as news:
        return [one async for one in news]


async def test_a_stream_says_piece_by_piece_what_the_caption_is():
    async with Rig(CAPTIONER, cache=NO_CACHE) as rig:
        query = CaptionQuery("hello there", decoding=Decoding(max_tokens=12, min_tokens=12))
        reply = await rig.service.caption(picture(), query)
        *pieces, last = await read_all(rig.service.stream_caption(picture(), query))
    assert isinstance(last, QueryReply)
    assert last.results == reply.results
    assert [len(piece.text.split()) for piece in pieces] == [2] + [1] * 12  # the prompt, and a word a token
    assert "".join(piece.text for piece in pieces) == reply.results[0].captions[0].text
    assert reply.results[0].captions[0].text.startswith("hello there ")


async def test_beams_come_at_the_end():
    async with Rig(CAPTIONER) as rig:
        query = CaptionQuery(num_captions=2, decoding=Decoding(num_beams=3))
        *pieces, reply = await read_all(rig.service.stream_caption(picture(), query))
    captions = reply.results[0].captions
    assert "".join(piece.text for piece in pieces) == captions[0].text
    assert len(captions) == 2


async def test_a_caption_is_kept_and_given_again_streamed_or_not():
    async with Rig(CAPTIONER) as rig:
        first = await read_all(rig.service.stream_caption(picture(), CaptionQuery()))
        again = await rig.service.caption(picture(), CaptionQuery())
        *pieces, streamed = await read_all(rig.service.stream_caption(picture(), CaptionQuery()))
    assert again.results == streamed.results == first[-1].results
    assert (again.timings.cached, streamed.timings.cached) == (1, 1)
    text = again.results[0].captions[0].text
    assert "".join(piece.text for piece in pieces) == text
    assert len(pieces) == len(text.split()) > 1


async def test_what_is_drawn_without_a_seed_is_drawn_each_time_and_with_one_is_kept():
    async with Rig(CAPTIONER) as rig:

        async def texts(seed):
            replies = [await rig.service.caption(picture(), long(temperature=2.0, seed=seed)) for _ in range(2)]
            return {reply.results[0].captions[0].text for reply in replies}, replies[1].timings.cached

        seeded, seeded_cached = await texts(7)
        drawn, drawn_cached = await texts(None)
    assert (len(seeded), seeded_cached) == (1, 1)
    assert (len(drawn), drawn_cached) == (2, 0)


async def test_the_picture_is_seen_once():
    async with Rig(CAPTIONER) as rig:
        for prompt in ("one", "two", "three"):
            await rig.service.caption(picture(), CaptionQuery(prompt))
        assert rig.value("vlpserve_batch_items_count", role="vision") == 1
        assert rig.value("vlpserve_batch_items_count", role="cross") == 1
        assert rig.value("vlpserve_written_tokens_total") > 3


async def test_who_closes_a_stream_frees_its_place_at_the_next_step():
    async with Rig(SLOW) as rig:
        async with aclosing(rig.service.stream_caption(picture(), long())) as news:
            await anext(news)
            assert rig.value("vlpserve_requests_inside") == 1
        assert rig.value("vlpserve_requests_inside") == 0
        await until(lambda: rig.value("vlpserve_dropped_items_total", reason="cancelled") == 1)
        steps = rig.value("vlpserve_batch_items_count", role="decoder")
        await asyncio.sleep(0.1)
        assert rig.value("vlpserve_batch_items_count", role="decoder") <= steps + 1
        assert rig.value("vlpserve_requests_total", outcome="cancelled") == 1


async def test_a_service_that_closes_ends_its_streams():
    async with Rig(SLOW) as rig:
        stream = rig.service.stream_caption(picture(), long())
        assert isinstance(await anext(stream), CaptionPiece)
        closing = asyncio.create_task(rig.service.close())
        with pytest.raises(UnavailableError, match="stopping"):
            await read_all(stream)
        await closing


async def test_the_deadline_counts_in_the_middle_of_a_stream():
    async with Rig(SLOW) as rig:
        loop = asyncio.get_running_loop()
        stream = rig.service.stream_caption(picture(), long(), deadline=loop.time() + 0.2)
        assert isinstance(await anext(stream), CaptionPiece)
        with pytest.raises(DeadlineError):
            await read_all(stream)
        assert rig.value("vlpserve_requests_total", outcome="deadline_exceeded") == 1


@pytest.mark.parametrize("word", ["[fail]", "[nan]"])
async def test_a_text_that_fails_hurts_no_other(word):
    async with Rig(SLOW, cache=NO_CACHE) as rig:
        good = CaptionQuery("fine", decoding=Decoding(max_tokens=20, min_tokens=20))
        alone = await rig.service.caption(picture(), good)
        found = await asyncio.gather(
            rig.service.caption(picture(), good),
            rig.service.caption(picture(), CaptionQuery(word)),
            return_exceptions=True,
        )
    assert found[0].results == alone.results
    assert isinstance(found[1], InferenceError)


async def test_refusals_come_before_the_first_piece():
    async with Rig(CAPTIONER) as rig:
        with pytest.raises(InvalidImageError):
            await anext(rig.service.stream_caption(b"no picture", CaptionQuery()))
        too_many = CaptionQuery("one two", decoding=Decoding(max_tokens=512, min_tokens=500))
        with pytest.raises(InvalidArgumentError, match="room"):
            await anext(rig.service.stream_caption(picture(), CaptionQuery("word " * 200, decoding=too_many.decoding)))
        regions = check_regions(np.array([[0.1, 0.1, 0.9, 0.9]]), np.ones((1, 8)))
        with pytest.raises(InvalidArgumentError, match="reads pictures, not regions"):
            await rig.service.caption(regions, CaptionQuery())
