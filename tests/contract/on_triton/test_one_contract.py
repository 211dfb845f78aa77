"""One set of assertions over the service on every engine: embedded, NVIDIA's real Triton, and dummy."""

import asyncio
import dataclasses
import io
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from PIL import Image, ImageDraw
from service_rig import Rig, until
from vlp_pipeline.regions import Regions
from vlp_server.core.records import CaptionPiece
from vlp_server.core.settings import CacheSettings, EngineSettings, ModelSettings
from vlp_spec.errors import DeadlineError, InvalidImageError, OverloadedError, TooLargeError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import (
    CaptionQuery,
    ClassifyQuery,
    Decoding,
    EntailmentQuery,
    GroundingQuery,
    Lane,
    MatchQuery,
    ReasoningQuery,
    VqaQuery,
)

NO_CACHES = CacheSettings(answer_entries=0, embedding_entries=0, region_entries=0, state_entries=0)
TOLERANCE = 1e-4


def picture(seed, size=(240, 180)):
    random = np.random.default_rng(seed)
    made = Image.fromarray(random.integers(0, 255, (*size[::-1], 3), dtype=np.uint8).astype(np.uint8))
    draw = ImageDraw.Draw(made)
    for _ in range(4):
        x, y, width, height = random.integers(0, 120, 4)
        draw.rectangle((x, y, x + width + 8, y + height + 8), fill=tuple(map(int, random.integers(0, 255, 3))))
    data = io.BytesIO()
    made.save(data, "PNG")
    return data.getvalue()


A, B = picture(1), picture(2, (180, 240))
QUESTIONS = [VqaQuery("what is there ?"), VqaQuery("how many dogs are there in the picture ?", top_k=2)]

ASKED = {
    "answers from a list": ("scenes-vilt-vqa", "dummy", lambda s, m: s.vqa(A, QUESTIONS, model=m)),
    "answers of a closed list": (
        "scenes-vilt-vqa",
        "dummy",
        lambda s, m: s.vqa(A, [VqaQuery("what is it ?", candidates=("yes", "no"))], model=m),
    ),
    "written answers": ("tiny-vqa", None, lambda s, m: s.vqa(A, [VqaQuery("what color is it ?", top_k=1)], model=m)),
    "ranked answers": (
        "tiny-vqa",
        None,
        lambda s, m: s.vqa(A, [VqaQuery("is it a cat ?", candidates=("red cat", "two dogs", "house"))], model=m),
    ),
    "match": ("scenes-itm", "dummy-matcher", lambda s, m: s.match(A, [MatchQuery("a cat"), MatchQuery("x")], model=m)),
    "staged match": ("tiny-match", None, lambda s, m: s.match(A, [MatchQuery("a red cat"), MatchQuery("x")], model=m)),
    "entailment": (
        "scenes-uniter-entailment",
        "dummy-entailment",
        lambda s, m: s.entailment(A, [EntailmentQuery("there is a cat")], model=m),
    ),
    "reasoning": (
        "scenes-uniter-reasoning",
        "dummy-reasoning",
        lambda s, m: s.reasoning((A, B), [ReasoningQuery("both show a cat")], model=m),
    ),
    "staged reasoning": (
        "tiny-reasoning",
        None,
        lambda s, m: s.reasoning((A, B), [ReasoningQuery("two dogs at the left")], model=m),
    ),
    "grounding": (
        "scenes-uniter-grounding",
        "dummy-grounding",
        lambda s, m: s.grounding(A, [GroundingQuery("the cat", top_k=2)], model=m),
    ),
    "regions": ("scenes-detector", "dummy-extractor", lambda s, m: s.regions(A, model=m)),
    "embeddings": ("scenes-clip", "dummy-encoder", lambda s, m: s.embed([A, "a cat", B, "two dogs"], model=m)),
    "embeddings of a matcher": ("tiny-match", None, lambda s, m: s.embed([A, "a red cat"], model=m)),
    "classes": (
        "scenes-clip",
        "dummy-encoder",
        lambda s, m: s.classify(A, ClassifyQuery(("cat", "dog"), ("a {}", "one {}")), model=m),
    ),
    "caption": ("scenes-blip", "dummy-captioner", lambda s, m: s.caption(A, CaptionQuery(), model=m)),
    "captions by beams": (
        "tiny-caption",
        None,
        lambda s, m: s.caption(A, CaptionQuery("a red", 2, Decoding(num_beams=3, max_tokens=6)), model=m),
    ),
}
EXTRACTORS = {"scenes-uniter-entailment", "scenes-uniter-reasoning", "scenes-uniter-grounding"}


def models_of(reference, engine, repository, **settings):
    """The model, and what makes its region features."""
    if engine.engine == "dummy":
        return [ModelSettings(reference=reference, engine=engine, **settings)]
    names = [reference, *(["scenes-detector"] if reference in EXTRACTORS else [])]
    return [ModelSettings(reference=name, repository=repository, engine=engine, **settings) for name in names]


@pytest.fixture(params=["onnx", "triton", "dummy"])
def engine(request):
    """An engine's settings."""
    if request.param != "triton":
        return EngineSettings(engine=request.param, threads=1)
    return EngineSettings(engine="triton", triton_urls=(request.getfixturevalue("triton").url,))


@asynccontextmanager
async def serving(reference, engine, repository, **core):
    async with Rig(*models_of(reference, engine, repository), cache=NO_CACHES, **core) as rig:
        await until(lambda: rig.service.readiness().ready, 10.0)
        yield rig


async def answer_of(asked, engine, repository):
    reference, dummy, ask = ASKED[asked]
    name = dummy if engine.engine == "dummy" else reference
    async with serving(name, engine, repository) as rig:
        return flat(await ask(rig.service, name))


def flat(value):
    """All that an answer says, as (texts, numbers); timings left out."""
    texts, numbers = [], []

    def walk(part):
        if isinstance(part, str | bool):
            texts.append(part)
        elif isinstance(part, int | float | np.generic):
            numbers.append(float(part))
        elif isinstance(part, np.ndarray):
            numbers.extend(map(float, part.ravel()))
        elif isinstance(part, Regions):
            walk([part.boxes, part.features, part.scores])
        elif dataclasses.is_dataclass(part):
            walk([getattr(part, field.name) for field in dataclasses.fields(part) if field.name != "timings"])
        elif isinstance(part, list | tuple):
            for one in part:
                walk(one)

    walk(value)
    return texts, numbers


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", ["triton", "dummy"])
async def test_answers_are_those_of_the_embedded_engine(asked, name, triton, triton_repository):
    """For the dummies: of another service of their own. They have no model that holds what it saw in a picture."""
    engine = reference = EngineSettings(threads=1)
    if name == "triton":
        engine = EngineSettings(engine="triton", triton_urls=(triton.url,))
    elif ASKED[asked][1] is not None:
        engine = reference = EngineSettings(engine="dummy")
    texts, numbers = await answer_of(asked, engine, triton_repository)
    same_texts, same_numbers = await answer_of(asked, reference, triton_repository)
    assert texts == same_texts
    assert len(numbers) > 0
    np.testing.assert_allclose(numbers, same_numbers, atol=TOLERANCE)


def vqa_model(engine):
    return "dummy" if engine.engine == "dummy" else "scenes-vilt-vqa"


def caption_model(engine):
    return "dummy-captioner" if engine.engine == "dummy" else "scenes-blip"


async def test_faults_of_a_request_have_their_kinds(engine, triton_repository):
    async with serving(vqa_model(engine), engine, triton_repository, max_text_chars=50) as rig:
        with pytest.raises(InvalidImageError):
            await rig.service.vqa(b"no picture", QUESTIONS)
        with pytest.raises(TooLargeError):
            await rig.service.vqa(A, [VqaQuery("what is " + "x" * 60)])
        assert (await rig.service.vqa(A, QUESTIONS)).results


async def test_faults_of_a_caption_have_their_kinds(engine, triton_repository):
    async with serving(caption_model(engine), engine, triton_repository) as rig:
        with pytest.raises(InvalidImageError):
            await rig.service.caption(b"no picture", CaptionQuery())
        with pytest.raises(TooLargeError):
            await rig.service.caption(A, CaptionQuery("cat " * 1200))
        assert (await rig.service.caption(A, CaptionQuery())).results


async def test_many_at_a_time_and_one_that_is_broken(engine, triton_repository):
    async with serving(vqa_model(engine), engine, triton_repository) as rig:
        pictures = [picture(seed) for seed in range(11)]
        pictures[5] = b"broken"
        asked = [rig.service.vqa(one, QUESTIONS) for one in pictures]
        got = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(got.pop(5), InvalidImageError)
        pictures.pop(5)
        for one, reply in zip(pictures, got, strict=True):
            texts, numbers = flat(await rig.service.vqa(one, QUESTIONS))
            assert flat(reply)[0] == texts
            np.testing.assert_allclose(flat(reply)[1], numbers, atol=TOLERANCE)


async def test_who_goes_away_leaves_nothing_behind(engine, triton_repository):
    async with serving(vqa_model(engine), engine, triton_repository) as rig:
        asked = [asyncio.ensure_future(rig.service.vqa(picture(seed), QUESTIONS)) for seed in range(8)]
        await until(lambda: rig.value("vlpserve_requests_inside") > 0)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: rig.value("vlpserve_requests_inside") == 0 and rig.value("vlpserve_queue_items") == 0)
        assert (await rig.service.vqa(A, QUESTIONS)).results


async def test_a_deadline_that_is_too_short_is_told_as_such(engine, triton_repository):
    async with serving(vqa_model(engine), engine, triton_repository) as rig:
        loop = asyncio.get_running_loop()
        with pytest.raises(DeadlineError):
            await rig.service.vqa(A, QUESTIONS, deadline=loop.time() + 1e-4)


async def test_bulk_work_is_answered_like_any(engine, triton_repository):
    async with serving(vqa_model(engine), engine, triton_repository) as rig:
        bulk = await rig.service.vqa(A, QUESTIONS, lane=Lane.BULK)
        assert flat(bulk)[0] == flat(await rig.service.vqa(A, QUESTIONS))[0]


async def test_a_caption_that_is_streamed_is_the_whole_one(engine, triton_repository):
    async with serving(caption_model(engine), engine, triton_repository) as rig:
        whole = await rig.service.caption(A, CaptionQuery())
        pieces, last = [], None
        async with aclosing(rig.service.stream_caption(A, CaptionQuery())) as news:
            async for one in news:
                if isinstance(one, CaptionPiece):
                    pieces.append(one.text)
                else:
                    last = one
        assert len(pieces) > 1
        assert "".join(pieces) == whole.results[0].captions[0].text
        assert last.results == whole.results


async def test_a_stream_that_is_left_frees_its_place(engine, triton_repository):
    async with serving(caption_model(engine), engine, triton_repository) as rig:
        async with aclosing(rig.service.stream_caption(A, CaptionQuery())) as news:
            async for one in news:
                assert isinstance(one, CaptionPiece)
                break
        await until(lambda: rig.value("vlpserve_requests_inside") == 0)
        assert (await rig.service.caption(B, CaptionQuery())).results


async def test_too_much_at_a_time_is_refused_with_a_time_to_wait(engine, triton_repository):
    from vlp_server.core.settings import AdmissionSettings

    admission = AdmissionSettings(max_requests=2)
    async with serving(vqa_model(engine), engine, triton_repository, admission=admission) as rig:
        asked = [rig.service.vqa(picture(seed), QUESTIONS) for seed in range(12)]
        got = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in got if isinstance(one, OverloadedError)]
        assert refused
        assert all(one.retry_after_s >= 1 for one in refused)
        assert len(refused) < len(got)


async def test_tritons_counters_are_the_requests_that_were_sent(triton, triton_repository):
    engine = EngineSettings(engine="triton", triton_urls=(triton.url,))
    graph = find_deployment(triton_repository, "scenes-vilt-vqa").deployment.graphs[0].name
    async with serving("scenes-vilt-vqa", engine, triton_repository) as rig:
        before = triton.metric("nv_inference_count", model=graph)
        failed = triton.metric("nv_inference_request_failure", model=graph)
        asked = [rig.service.vqa(picture(seed), QUESTIONS) for seed in range(20)]
        await asyncio.gather(*asked)
        assert triton.metric("nv_inference_count", model=graph) - before == 20 * len(QUESTIONS)
        assert triton.metric("nv_inference_request_failure", model=graph) == failed
        assert triton.metric("nv_inference_exec_count", model=graph) < triton.metric("nv_inference_count", model=graph)
