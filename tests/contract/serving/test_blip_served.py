"""BLIP behind the service gives what transformers computes from the same directory, where transformers is right."""

import asyncio
import io

import numpy as np
import pytest
import torch
from PIL import Image
from service_rig import Rig
from tiny_blip import MAX_TEXT, SHARED, shared_tiny_blip, write_tiny_blip
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.checkpoints import load_checkpoint
from vlp_models.evaluation.reference_generation import generate_reference
from vlp_pipeline.registry import build_pipeline
from vlp_server.core.collection_records import CollectionItem, CollectionSearch, CollectionWish, Rerank
from vlp_server.core.running_texts import AnswersToWeigh
from vlp_server.core.service import Service
from vlp_server.core.settings import CacheSettings, CoreSettings, EngineSettings, ModelSettings
from vlp_server.core.urgency import Urgency
from vlp_server.core.writing_flow import RANKED_ANSWERS
from vlp_server.index.opening import open_store
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import CaptionQuery, Decoding, Lane, MatchQuery, ReasoningQuery, VqaQuery

KINDS = ("caption", "vqa", "match", "reasoning")
QUESTIONS = ("what color is it ?", "is it a cat ?", "where is the blue house and the tree ?", "two dogs ?")
WORDS = ("a", "red", "cat", "two", "dogs", "blue", "house", "tree", "left", "what", "color", "is")
SIZES = ((1, 1), (2, 5), (3, 2), (4, 3))
NO_CACHE = CacheSettings(answer_entries=0)


@pytest.fixture(scope="module")
def root():
    return shared_tiny_blip(*KINDS)


def served(root, kind):
    return ModelSettings(reference=f"tiny-{kind}", repository=root / "repository", engine=EngineSettings(threads=1))


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def pipeline_of(root, kind):
    found = find_deployment(root / "repository", f"tiny-{kind}")
    return build_pipeline(found.deployment, found.assets_dir)


def pixels_of(root, kind, data):
    """Normalised, as transformers takes them."""
    pixels = torch.from_numpy(pipeline_of(root, kind).prepare_image(data).arrays["pixels"])[None]
    config = load_checkpoint(root / f"tiny-{kind}").model.config
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
    return (pixels.permute(0, 3, 1, 2) / 255 - mean) / std


@pytest.mark.parametrize("beams", [1, 3])
async def test_captions_are_those_of_transformers_generate(root, beams):
    model = BlipForConditionalGeneration.from_pretrained(root / "tiny-caption").eval()
    pipeline = pipeline_of(root, "caption")
    wanted = Decoding(max_tokens=10, min_tokens=2, num_beams=beams)
    queries = [CaptionQuery(prompt, decoding=wanted) for prompt in ("", "the blue house", "a")]
    async with Rig(served(root, "caption"), cache=NO_CACHE) as rig:
        asked = [(picture(seed), query) for seed in range(4) for query in queries]
        replies = await asyncio.gather(*(rig.service.caption(data, query) for data, query in asked))
    for (data, query), reply in zip(asked, replies, strict=True):
        beginning = pipeline.begin(query)
        plan = pipeline.plan(query, len(beginning))
        states = model.vision_model(pixels_of(root, "caption", data)).last_hidden_state
        wanted = generate_reference(model.text_decoder, states, beginning, plan)
        assert reply.results[0].captions[0].text == pipeline.text_of(query, wanted.tokens)


async def test_answers_are_those_of_transformers_given_enc_and_each_question_alone(root):
    model = BlipForQuestionAnswering.from_pretrained(root / "tiny-vqa").eval()
    pipeline = pipeline_of(root, "vqa")
    queries = [VqaQuery(question, top_k=1) for question in QUESTIONS]
    async with Rig(served(root, "vqa")) as rig:
        reply = await rig.service.vqa(picture(1), queries)
    states = model.vision_model(pixels_of(root, "vqa", picture(1))).last_hidden_state
    for query, result in zip(queries, reply.results, strict=True):
        plan = pipeline.plan(query)
        ids = torch.from_numpy(pipeline._question_ids(query)).long()[None]
        read = model.text_encoder(input_ids=ids, attention_mask=torch.ones_like(ids), encoder_hidden_states=states)
        wanted = generate_reference(model.text_decoder, read[0], pipeline.begin(query), plan)
        texts = pipeline.inputs.text_processor
        assert result.answers[0].answer.replace(" ", "") == "".join(
            token.removeprefix("##") for token in texts.tokens_of(wanted.tokens)
        )


async def test_a_closed_list_is_ranked_by_what_the_decoder_would_write(root):
    model = BlipForQuestionAnswering.from_pretrained(root / "tiny-vqa").eval()
    pipeline = pipeline_of(root, "vqa")
    answers = ("red", "blue", "a cat and two dogs", "left", "house", "at the left")
    queries = [VqaQuery(question, top_k=6, candidates=answers) for question in QUESTIONS]
    async with Rig(served(root, "vqa")) as rig:
        reply = await rig.service.vqa(picture(2), queries)
    states = model.vision_model(pixels_of(root, "vqa", picture(2))).last_hidden_state
    for query, result in zip(queries, reply.results, strict=True):
        ids = torch.from_numpy(pipeline._question_ids(query)).long()[None]
        read = model.text_encoder(input_ids=ids, attention_mask=torch.ones_like(ids), encoder_hidden_states=states)
        rows, lengths = pipeline.candidate_ids(query)
        totals = []
        for row, length in zip(rows, lengths, strict=True):
            own = torch.from_numpy(row[:length]).long()[None]
            with torch.no_grad():
                logits = model.text_decoder(own[:, :-1], encoder_hidden_states=read[0]).logits
            # As the published code ranks: by its loss, which smooths labels by 0.1.
            scores = logits.log_softmax(-1)[0]
            totals.append(float((0.9 * scores[range(length - 1), own[0, 1:]] + 0.1 * scores.mean(-1)).sum()))
        shares = torch.tensor(totals).softmax(0)
        assert [one.answer for one in result.answers] == [answers[index] for index in shares.argsort(descending=True)]
        np.testing.assert_allclose(
            [one.score for one in result.answers], shares.sort(descending=True).values, atol=2e-4
        )


async def test_matches_have_both_scores_of_transformers(root):
    model = BlipForImageTextRetrieval.from_pretrained(root / "tiny-match").eval()
    pipeline = pipeline_of(root, "match")
    texts = ("a red cat", "two dogs at the left of the blue house", "a tree")
    async with Rig(served(root, "match")) as rig:
        reply = await rig.service.match(picture(3), [MatchQuery(text) for text in texts])
        again = await rig.service.match(picture(3), [MatchQuery(texts[1])])
        vectors = await rig.service.embed([picture(3), texts[0]])
    pixels = pixels_of(root, "match", picture(3))
    for text, result in zip(texts, reply.results, strict=True):
        fused = torch.from_numpy(pipeline.inputs.text_ids(text, "text", looks=True)).long()[None]
        alone = torch.from_numpy(pipeline.inputs.text_ids(text, "text", looks=False)).long()[None]
        with torch.no_grad():
            logits = model(input_ids=fused, pixel_values=pixels).itm_score[0]
            cosine = model(input_ids=alone, pixel_values=pixels, use_itm_head=False).itm_score[0, 0]
        assert result.itm == result.score == pytest.approx(float(logits.softmax(0)[1]), abs=1e-4)
        assert result.itc == pytest.approx(float(cosine), abs=1e-4)
        assert result.rank_score == pytest.approx(float(logits[1] + cosine), abs=1e-3)
    assert again.results == [reply.results[1]]
    assert again.timings.cached == 1
    assert float(vectors.vectors[0] @ vectors.vectors[1]) == pytest.approx(reply.results[0].itc, abs=1e-4)


async def test_statements_on_two_pictures_are_judged_as_by_the_checkpoint(root):
    model = load_checkpoint(root / "tiny-reasoning").blip
    pipeline = pipeline_of(root, "reasoning")
    statements = ("there are two dogs", "the left house is blue and the right one is red")
    async with Rig(served(root, "reasoning")) as rig:
        reply = await rig.service.reasoning(
            (picture(4), picture(5)), [ReasoningQuery(statement) for statement in statements]
        )
        assert rig.value("vlpserve_batch_items_sum", role="vision") == 2
    sides = []
    for seed, right in ((4, False), (5, True)):
        pixels = torch.from_numpy(pipeline.prepare_image(picture(seed)).arrays["pixels"])[None]
        sides.append(model.side_states(model.encode_image(pixels), right=right))
    for statement, result in zip(statements, reply.results, strict=True):
        ids = torch.from_numpy(pipeline.inputs.text_ids(statement, "statement", looks=True)).long()[None]
        with torch.no_grad():
            logits = model.reasoning_logits(ids, torch.ones_like(ids), *sides)[0]
        assert result.score == pytest.approx(float(logits.softmax(0)[1]), abs=1e-4)


async def test_ten_questions_see_the_picture_once(root):
    async with Rig(served(root, "vqa")) as rig:
        for question in QUESTIONS:
            await rig.service.vqa(picture(6), [VqaQuery(question)])
        assert rig.value("vlpserve_batch_items_count", role="vision") == 1
        assert rig.value("vlpserve_batch_items_count", role="cross") == 1
        assert rig.value("vlpserve_batch_items_count", role="question") == len(QUESTIONS)


async def test_a_prompt_and_lengths_that_do_not_fit_are_refused_by_name(root):
    async with Rig(served(root, "caption")) as rig:
        with pytest.raises(TooLargeError, match="prompt"):
            await rig.service.caption(picture(1), CaptionQuery("cat " * 40))
        with pytest.raises(InvalidArgumentError) as refused:
            await rig.service.caption(picture(1), CaptionQuery(decoding=Decoding(max_tokens=200)))
        assert refused.value.field == "max_tokens"
        long_question = VqaQuery("cat " * (2 * MAX_TEXT))
    async with Rig(served(root, "vqa")) as rig:
        reply = await rig.service.vqa(picture(1), [long_question])
        assert reply.results[0].answers


async def test_one_blip_is_encoder_and_reranker_of_a_collection(root, tmp_path):
    settings = CoreSettings(models=(served(root, "match"),), preprocess_threads=1)
    service = Service(settings, store=open_store(tmp_path, None))
    await service.start()
    try:
        assert (await service.wait_ready(60)).ready
        await service.collections.create(CollectionWish(name="seen"))
        items = [CollectionItem(id=str(seed), picture=picture(seed)) for seed in range(6)]
        added = await service.collections.add("seen", items)
        assert [one.status for one in added.results] == ["created"] * 6
        plain = await service.collections.search("seen", CollectionSearch(text="a red cat", k=6))
        again = await service.collections.search(
            "seen", CollectionSearch(text="a red cat", k=6, rerank=Rerank(k=6, model="tiny-match"))
        )
        by_hand = {}
        for seed in range(6):
            reply = await service.match(picture(seed), [MatchQuery("a red cat")], model="tiny-match")
            by_hand[str(seed)] = reply.results[0]
    finally:
        await service.close()
    order = [found.hit.id for found in plain.hits]
    assert order == sorted(by_hand, key=lambda name: -by_hand[name].itc)
    assert [found.hit.id for found in again.hits] == sorted(by_hand, key=lambda name: -by_hand[name].rank_score)
    assert [found.rerank_score for found in again.hits] == sorted(
        (one.rank_score for one in by_hand.values()), reverse=True
    )
    assert again.reranked_by == "tiny-match@1"


async def test_matches_of_different_numbers_of_texts_can_share_a_batch(root):
    texts = ("a red cat", "two dogs at the left", "the blue house", "a tree", "at the left")
    async with Rig(served(root, "match")) as rig:
        loaded = rig.service._directory.find("tiny-match").usable().loaded
        pipeline = loaded.pipeline
        items = []
        for seed, count in SIZES:
            (vision,) = loaded.compute([pipeline.vision_item(pipeline.prepare_image(picture(seed)))])
            (cross,) = loaded.compute([pipeline.cross_item(vision)])
            items.append(pipeline.fusion_item(cross, texts[:count]))
        alone = [
            pipeline.results(loaded.compute([item])[0], [0.5] * n) for item, (_, n) in zip(items, SIZES, strict=True)
        ]
        together = [pipeline.results(row, [0.5] * n) for row, (_, n) in zip(loaded.compute(items), SIZES, strict=True)]
    for one, other, (_, count) in zip(alone, together, SIZES, strict=True):
        assert len(one) == len(other) == count
        assert [result.itm for result in one] == pytest.approx([result.itm for result in other], abs=1e-5)


async def test_a_match_sees_its_picture_once_where_nothing_is_kept(root):
    async with Rig(served(root, "match"), cache=CacheSettings(answer_entries=0, state_entries=0)) as rig:
        await rig.service.match(picture(1), [MatchQuery("a red cat")])
        assert rig.value("vlpserve_batch_items_sum", role="vision") == 1
        assert rig.value("vlpserve_batch_items_sum", role="cross") == 1


async def test_equal_questions_at_the_same_time_are_read_once(root):
    queries = [VqaQuery(question) for question in QUESTIONS]
    async with Rig(served(root, "vqa"), cache=NO_CACHE) as rig:
        replies = await asyncio.gather(*(rig.service.vqa(picture(7), queries) for _ in range(4)))
        assert rig.value("vlpserve_batch_items_sum", role="question") == 1
    assert all(reply.results == replies[0].results for reply in replies)


async def test_a_checkpoint_with_answers_of_its_own_chooses_among_them(tmp_path):
    answers = tuple(f"{word} {other}" for word in WORDS for other in ("", *WORDS))  # more than are weighed as a whole
    checkpoint = write_tiny_blip(tmp_path / "own", "vqa", labels=answers, **SHARED)
    export_checkpoint(checkpoint, repository=tmp_path / "repository", options=ExportOptions(proof_samples=2))
    settings = ModelSettings(reference="own", repository=tmp_path / "repository", engine=EngineSettings(threads=1))
    query, listed = VqaQuery(QUESTIONS[0], top_k=3), VqaQuery(QUESTIONS[0], top_k=3, candidates=answers)
    async with Rig(settings, cache=NO_CACHE) as rig:
        own = await rig.service.vqa(picture(2), [query])
        given = await rig.service.vqa(picture(2), [listed])
        usable = rig.service._directory.find("own").usable()
        pipeline, deadline = usable.loaded.pipeline, asyncio.get_running_loop().time() + 60
        cross = usable.loaded.compute([pipeline.cross_item(usable.loaded.compute([seen(pipeline, picture(2))])[0])])[0]
        read = usable.loaded.compute([pipeline.question_item(cross, [query])])[0]
        (looked_at,) = pipeline.looked_at(read, [query])
        wanted = AnswersToWeigh(looked_at, *pipeline.candidate_ids(query), pipeline.rank_smoothing)
        whole = await usable.decoder.log_probabilities(wanted, Urgency(Lane.INTERACTIVE, deadline))
    assert own.results == given.results
    assert len(answers) > RANKED_ANSWERS
    first = {answer.split()[0] for answer in np.array(answers)[np.argsort(-whole)[:3]]}
    assert own.results[0].answers[0].answer.split()[0] in first


def seen(pipeline, data):
    return pipeline.vision_item(pipeline.prepare_image(data))
