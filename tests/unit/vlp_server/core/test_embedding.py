import asyncio
import logging

import numpy as np
import pytest
from service_rig import DUMMY, Rig, picture, until
from vlp_server.core.settings import BatchSettings, CacheSettings, EngineSettings, ModelSettings
from vlp_server.engines.dummy_pipeline import DummyEmbeddingPipeline
from vlp_spec.errors import (
    InferenceError,
    InvalidArgumentError,
    InvalidImageError,
    TaskNotSupportedError,
    TooLargeError,
)
from vlp_spec.tasks import ClassifyQuery, Lane, MatchQuery, Task, VqaQuery

ENCODER = ModelSettings(reference="dummy-encoder", engine=EngineSettings(engine="dummy"))
MATCHER = ModelSettings(reference="dummy-matcher", engine=EngineSettings(engine="dummy"))
LABEL = "dummy-encoder@1"


async def test_pictures_and_texts_mixed_come_back_in_their_order():
    async with Rig(ENCODER) as rig:
        mixed = await rig.service.embed(["a cat", picture("red"), "a dog", picture("blue")])
        alone = [await rig.service.embed([item]) for item in ("a cat", picture("red"), "a dog", picture("blue"))]
        assert mixed.vectors.shape == (4, 16)
        np.testing.assert_array_equal(mixed.vectors, np.concatenate([one.vectors for one in alone]))
        np.testing.assert_allclose(np.linalg.norm(mixed.vectors, axis=1), 1.0, rtol=1e-6)
        assert (mixed.model, mixed.tokens, mixed.timings.cached) == (LABEL, 4, 0)
        assert len(mixed.encoder) == 64
        assert all(one.timings.cached == 1 for one in alone)


async def test_each_role_has_its_queue_its_batches_and_its_figures():
    async with Rig(ENCODER) as rig:
        await rig.service.embed([*(f"text {index}" for index in range(5)), picture()])
        rows = {
            role: rig.value("vlpserve_batch_items_sum", model=LABEL, role=role) for role in ("image", "text", "fusion")
        }
        assert rows == {"image": 1, "text": 5, "fusion": 0}
        assert rig.value("vlpserve_embedded_items_total", model=LABEL, role="text", lane="interactive") == 5


async def test_equal_content_is_computed_once_and_shared_in_flight():
    async with Rig(ENCODER) as rig:
        await asyncio.gather(*(rig.service.embed(["same", "same", picture(), picture()]) for _ in range(3)))
        assert rig.value("vlpserve_embedded_items_total") == 2


async def test_bulk_work_uses_what_is_kept_and_keeps_nothing():
    async with Rig(ENCODER) as rig:
        await rig.service.embed(["bulk"], lane=Lane.BULK)
        await rig.service.embed(["bulk"], lane=Lane.BULK)
        assert rig.value("vlpserve_embedded_items_total", lane="bulk") == 2
        await rig.service.embed(["kept"])
        await rig.service.embed(["kept"], lane=Lane.BULK)
        assert rig.value("vlpserve_embedded_items_total") == 3


@pytest.mark.parametrize("word", ["[nan]", "[fail]", "[poison]"])
async def test_a_bad_text_fails_alone_and_the_towers_do_not_mix(word):
    mixed = ModelSettings(
        reference="dummy-encoder",
        engine=EngineSettings(engine="dummy"),
        batch=BatchSettings(max_padding_waste=1.0),
    )
    async with Rig(mixed) as rig:
        good = asyncio.gather(*(rig.service.embed([f"text {index}", picture()]) for index in range(6)))
        with pytest.raises(InferenceError):
            await rig.service.embed(["fine", word])
        assert len(await good) == 6
        assert rig.value("vlpserve_failed_items_total", model=LABEL, role="text") == 1
        assert rig.value("vlpserve_failed_items_total", model=LABEL, role="image") == 0


async def test_a_stalled_text_tower_leaves_the_other_working_and_makes_the_model_unready():
    async with Rig(ENCODER) as rig:
        blocked = asyncio.create_task(rig.service.embed(["[stall]"]))
        assert await asyncio.to_thread(rig.engines[0].stalled.wait, 5)
        assert (await rig.service.embed([picture()])).vectors.shape == (1, 16)
        served = next(iter(rig.service._directory))
        assert served._busy_for() > 0
        rig.engines[0].release()
        await blocked


async def test_a_canary_that_rots_in_one_graph_of_two_makes_the_model_unready(caplog):
    async with Rig(ENCODER) as rig:
        served = next(iter(rig.service._directory))
        served.loaded.canary.outputs["text_embeds"][0, 0] += np.float32(1.0)
        with caplog.at_level(logging.CRITICAL):
            await served.check_canary()
        assert "'text_embeds' is off by 1" in rig.service.readiness().models[LABEL]


async def test_a_full_list_of_items_is_worked_off_and_one_bad_picture_is_named():
    async with Rig(ENCODER) as rig:
        reply = await rig.service.embed([f"text {index}" for index in range(300)])
        alone = await rig.service.embed(["text 222"])
        assert reply.vectors.shape == (300, 16)
        np.testing.assert_array_equal(reply.vectors[222], alone.vectors[0])
        with pytest.raises(InvalidImageError):
            await rig.service.embed(["text", b"no picture"])


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([], InvalidArgumentError),
        ([" "], InvalidArgumentError),
        ([bytes(3000)], TooLargeError),
        (["x" * 101], TooLargeError),
    ],
)
async def test_bad_items(items, error):
    async with Rig(ENCODER, max_image_bytes=2000, max_text_chars=100) as rig:
        with pytest.raises(error):
            await rig.service.embed(items)
        assert rig.value("vlpserve_requests_total", model=LABEL, task="embeddings", outcome=str(error.kind)) == 1


async def test_dimensions_only_where_the_model_allows_them():
    async with Rig(ENCODER) as rig:
        with pytest.raises(InvalidArgumentError, match="gives vectors of 16") as caught:
            await rig.service.embed(["a"], dimensions=8)
        assert caught.value.field == "dimensions"
        whole = (await rig.service.embed(["a"], dimensions=16)).vectors
        head = next(iter(rig.service._directory)).loaded.deployment.head
        head["dimensions"] = [8]
        short = (await rig.service.embed(["a"], dimensions=8)).vectors
        np.testing.assert_allclose(short[0], whole[0, :8] / np.linalg.norm(whole[0, :8]), rtol=1e-6)


async def test_classification_ranks_all_labels_and_keeps_their_vectors():
    async with Rig(ENCODER) as rig:
        query = ClassifyQuery(("cat", "dog", "car"), ("a photo of a {}.",))
        reply = await rig.service.classify(picture(), query)
        scores = [scored.score for scored in reply.result.scores]
        assert {scored.label for scored in reply.result.scores} == {"cat", "dog", "car"}
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1.0)
        vectors = (await rig.service.embed([picture(), *(f"a photo of a {label}." for label in query.labels)])).vectors
        logits = 10.0 * vectors[1:] @ vectors[0]
        assert reply.result.scores[0].label == query.labels[int(np.argmax(logits))]
        await rig.service.classify(picture("blue"), query)
        assert rig.value("vlpserve_embedded_items_total", role="text") == 3


async def test_several_templates_count_by_their_mean_and_sigmoid_scores_stand_alone(monkeypatch):
    monkeypatch.setattr(DummyEmbeddingPipeline, "scoring", "sigmoid")
    async with Rig(ENCODER) as rig:
        query = ClassifyQuery(("cat", "dog"), ("{}", "a {}"))
        scores = {s.label: s.score for s in (await rig.service.classify(picture(), query)).result.scores}
        vectors = (await rig.service.embed([picture(), "cat", "a cat"])).vectors
        mean = vectors[1] + vectors[2]
        logit = 10.0 * float(vectors[0] @ mean) / float(np.linalg.norm(mean))
        assert scores["cat"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)


async def test_texts_are_matched_in_their_order_and_answers_kept():
    async with Rig(MATCHER) as rig:
        queries = [MatchQuery("a cat"), MatchQuery("a dog")]
        reply = await rig.service.match(picture(), queries)
        again = await rig.service.match(picture(), queries[::-1])
        assert [result.score for result in again.results] == [result.score for result in reply.results][::-1]
        assert all(0 < result.score < 1 for result in reply.results)
        assert (reply.model, again.timings.cached) == ("dummy-matcher@1", 2)
        with pytest.raises(InvalidArgumentError, match="texts"):
            await rig.service.match(picture(), [])


async def test_each_task_has_its_own_default_model():
    async with Rig(MATCHER, ENCODER, DUMMY) as rig:
        service = rig.service
        assert (await service.vqa(picture(), [VqaQuery("a")])).model == "dummy@1"
        assert (await service.embed(["a"])).model == LABEL
        assert (await service.classify(picture(), ClassifyQuery(("a",)))).model == LABEL
        assert (await service.match(picture(), [MatchQuery("a")])).model == "dummy-matcher@1"
        cards = {card.name: (card.default, card.default_for) for card in service.models()}
        assert cards == {
            "dummy-matcher": (True, (Task.MATCH,)),
            "dummy-encoder": (False, (Task.EMBEDDINGS, Task.CLASSIFY)),
            "dummy": (False, (Task.VQA,)),
        }


async def test_a_named_model_is_not_replaced_by_one_that_does_the_task():
    async with Rig(DUMMY, ENCODER) as rig:
        with pytest.raises(TaskNotSupportedError, match="does not do embeddings, it does vqa"):
            await rig.service.embed(["a"], model="dummy")
    async with Rig() as rig:
        with pytest.raises(TaskNotSupportedError):
            await rig.service.match(picture(), [MatchQuery("a")])


async def test_a_request_that_is_cancelled_leaves_both_queues():
    async with Rig(ENCODER, cache=CacheSettings(embedding_entries=0)) as rig:
        blocked = asyncio.create_task(rig.service.embed(["[stall]"]))
        assert await asyncio.to_thread(rig.engines[0].stalled.wait, 5)
        waiting = asyncio.create_task(rig.service.embed(["a", "b"]))
        await until(lambda: rig.value("vlpserve_queue_items", model=LABEL, role="text") == 2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: rig.value("vlpserve_queue_items", model=LABEL) == 0)
        assert rig.value("vlpserve_dropped_items_total", role="text", reason="cancelled") == 2
        rig.engines[0].release()
        await blocked
