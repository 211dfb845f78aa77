"""From the texts and options of a task model to the service, and back. The service is of the dummy engine."""

import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from service_rig import DUMMY, Rig, picture
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.settings import EngineSettings, ModelSettings
from vlp_server.engines.task_wire import parse_result
from vlp_server.task_models.task_calls import do_task, stream_task
from vlp_server.task_models.task_records import TaskReply, TaskRequest
from vlp_spec.errors import InvalidArgumentError, InvalidImageError, TaskNotSupportedError, VlpError
from vlp_spec.tasks import CaptionQuery, Decoding, EntailmentQuery, GroundingQuery, ReasoningQuery, Task, VqaQuery

NAMES = ["encoder", "matcher", "entailment", "reasoning", "grounding", "captioner", "extractor"]
MODELS = (DUMMY, *(ModelSettings(reference=f"dummy-{name}", engine=EngineSettings(engine="dummy")) for name in NAMES))
LIMITS = LimitsConfig()
A, B = picture("red"), picture("blue")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Rig(*MODELS) as made:
        yield made


async def asked(
    rig: Rig, task: Task, model: str, images: list[bytes], texts: list[str], options: object = b"", **rest: Any
) -> TaskReply:
    encoded = options if isinstance(options, bytes) else json.dumps(options).encode()
    return await do_task(rig.service, task, model, TaskRequest(images, texts, encoded, **rest), LIMITS)


async def test_questions_are_answered_each_with_their_options(rig: Rig) -> None:
    options = {"top_k": 2, "answers": ["yes", "no", "red"]}
    told = await asked(rig, Task.VQA, "dummy", [A], ["what ?", "who ?"], options)
    queries = [VqaQuery(text, 2, ("yes", "no", "red")) for text in ("what ?", "who ?")]
    expected = (await rig.service.vqa(A, queries)).results
    assert [parse_result(Task.VQA, result) for result in told.results] == expected
    assert list(told.answers) == [result.answers[0].answer for result in expected]
    assert all(len(result.answers) == 2 for result in expected)
    assert told.arrays == {}


async def test_every_judging_task_says_its_best_answer_in_words(rig: Rig) -> None:
    texts = ["a red thing", "a cat"]
    match = await asked(rig, Task.MATCH, "dummy-matcher", [A], texts)
    assert [round(parse_result(Task.MATCH, one).score, 6) for one in match.results] == list(map(float, match.answers))
    entailment = await asked(rig, Task.ENTAILMENT, "dummy-entailment", [A], texts)
    judged = (await rig.service.entailment(A, list(map(EntailmentQuery, texts)), model="dummy-entailment")).results
    assert list(entailment.answers) == [one.label for one in judged]
    reasoning = await asked(rig, Task.REASONING, "dummy-reasoning", [A, B], texts)
    compared = (await rig.service.reasoning((A, B), list(map(ReasoningQuery, texts)), model="dummy-reasoning")).results
    assert [parse_result(Task.REASONING, one) for one in reasoning.results] == compared
    assert set(reasoning.answers) <= {"true", "false"}
    grounding = await asked(rig, Task.GROUNDING, "dummy-grounding", [A], texts, {"top_k": 3})
    boxes = (
        await rig.service.grounding(A, [GroundingQuery(text, 3) for text in texts], model="dummy-grounding")
    ).results
    assert [tuple(json.loads(one)) for one in grounding.answers] == [result.boxes[0].box for result in boxes]
    assert [parse_result(Task.GROUNDING, one) for one in grounding.results] == boxes


async def test_labels_are_one_question(rig: Rig) -> None:
    told = await asked(
        rig, Task.CLASSIFY, "dummy-encoder", [A], ["red", "blue"], {"templates": ["a {} thing", "it is {}"]}
    )
    (result,) = told.results
    scores = parse_result(Task.CLASSIFY, result).scores
    assert {one.label for one in scores} == {"red", "blue"}
    assert list(told.answers) == [scores[0].label]


async def test_vectors_are_pictures_first(rig: Rig) -> None:
    told = await asked(rig, Task.EMBEDDINGS, "dummy-encoder", [A, B], ["a cat"])
    vectors = told.arrays["embeddings"]
    assert (vectors.dtype, len(vectors)) == (np.float32, 3)
    one_by_one = [
        (await asked(rig, Task.EMBEDDINGS, "dummy-encoder", images, texts)).arrays["embeddings"][0]
        for images, texts in (([A], []), ([B], []), ([], ["a cat"]))
    ]
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-6)
    about = json.loads(told.results[0])
    assert about["model"] == "dummy-encoder@1"
    assert about["tokens"] > 0


async def test_regions_come_with_their_features(rig: Rig) -> None:
    told = await asked(rig, Task.REGIONS, "dummy-extractor", [A], [])
    about = json.loads(told.results[0])
    assert len(told.arrays["features"]) == len(about["boxes"]) == len(about["names"])
    assert about["model"] == "dummy-extractor@1"
    assert about["encoder"]


async def test_a_caption_whole_and_in_pieces(rig: Rig) -> None:
    options = {"max_tokens": 6, "min_tokens": 6}
    told = await asked(rig, Task.CAPTION, "dummy-captioner", [A], ["hello"], options)
    expected = await rig.service.caption(
        A, CaptionQuery("hello", decoding=Decoding(max_tokens=6, min_tokens=6)), model="dummy-captioner"
    )
    assert [parse_result(Task.CAPTION, one) for one in told.results] == expected.results
    assert list(told.answers) == [expected.results[0].captions[0].text]
    for stream in (False, True):
        sent = TaskRequest([A], ["hello"], json.dumps({**options, "stream": stream}).encode())
        *pieces, last = [one async for one in stream_task(rig.service, "dummy-captioner", sent, LIMITS)]
        assert list(last.results) == list(told.results)
        assert all(not piece.results for piece in pieces)
        assert "".join(answer for one in (*pieces, last) for answer in one.answers) == told.answers[0]
        assert bool(pieces) is stream


async def test_a_caption_without_a_text_begins_as_the_model_does(rig: Rig) -> None:
    told = await asked(rig, Task.CAPTION, "dummy-captioner", [A], [], {"num_beams": 3, "num_captions": 2})
    assert len(parse_result(Task.CAPTION, told.results[0]).captions) == 2


@pytest.mark.parametrize(
    ("task", "model", "images", "texts", "kind", "field"),
    [
        (Task.VQA, "dummy", [], ["q"], InvalidArgumentError, "image"),
        (Task.VQA, "dummy", [A, B], ["q"], InvalidArgumentError, "image"),
        (Task.VQA, "dummy", [A], [], InvalidArgumentError, "text"),
        (Task.VQA, "dummy", [A], [" "], InvalidArgumentError, "question"),
        (Task.VQA, "dummy", [b"none"], ["q"], InvalidImageError, None),
        (Task.VQA, "dummy", [b""], ["q"], InvalidImageError, None),
        (Task.MATCH, "dummy-matcher", [A], [""], InvalidArgumentError, "text"),
        (Task.REASONING, "dummy-reasoning", [A], ["s"], InvalidArgumentError, "image"),
        (Task.REASONING, "dummy-reasoning", [A, B, A], ["s"], InvalidArgumentError, "image"),
        (Task.CLASSIFY, "dummy-encoder", [A], [], InvalidArgumentError, "labels"),
        (Task.CLASSIFY, "dummy-encoder", [A], ["a", "a"], InvalidArgumentError, "labels"),
        (Task.EMBEDDINGS, "dummy-encoder", [], [], InvalidArgumentError, None),
        (Task.REGIONS, "dummy-extractor", [], [], InvalidArgumentError, "image"),
        (Task.CAPTION, "dummy-captioner", [], [], InvalidArgumentError, "image"),
        (Task.CAPTION, "dummy-captioner", [A], ["a", "b"], InvalidArgumentError, "text"),
        (Task.MATCH, "dummy", [A], ["t"], TaskNotSupportedError, None),
    ],
)
async def test_what_cannot_be_asked(
    rig: Rig, task: Task, model: str, images: list[bytes], texts: list[str], kind: type[VlpError], field: str | None
) -> None:
    with pytest.raises(kind) as caught:
        await asked(rig, task, model, images, texts)
    if field is not None:
        assert isinstance(caught.value, InvalidArgumentError)
        assert caught.value.field == field


LONG = b'{"%s": 1}' % (b"x" * 20_000)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (b'{"colour": 1}', "colour"),
        (b'{"top_k": "3"}', "top_k"),
        (b'{"top_k": 1.0}', "top_k"),
        (b'{"top_k": true}', "top_k"),
        (b'{"top_k": null}', "top_k"),
        (b'{"top_k": 0}', "top_k"),
        (b'{"top_k": 101}', "top_k"),
        (b'{"top_k": 1e400}', "top_k"),
        (b'{"top_k": 1%s}' % (b"0" * 5000), "options"),
        (b'{"answers": "yes"}', "answers"),
        (b'{"answers": [1]}', "answers.0"),
        (b'{"answers": []}', "answers"),
        (b'{"answers": ["a", "a"]}', "answers"),
        (b'{"answers": ["\\ud800"]}', "options"),
        (b'{"answers": %s1%s}' % (b"[" * 100_000, b"]" * 100_000), "options"),
        (b'{"a": ' * 100_000, "options"),
        (b"[]", "options"),
        (b"null", "options"),
        (b"3", "options"),
        (b" ", "options"),
        (b"\xff\xfe", "options"),
        (b"{", "options"),
        (b"{}{}", "options"),
        (b'{"top_k": 1}' + b" " * 1024 * 1024, "options"),
        (LONG, "x" * 64),
        (b'{"": 1}', "options"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_options_that_are_none_name_the_field(rig: Rig, options: bytes, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await asked(rig, Task.VQA, "dummy", [A], ["q"], options)
    assert caught.value.field == field
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (b'{"temperature": NaN}', "temperature"),
        (b'{"temperature": -1}', "temperature"),
        (b'{"top_p": 0.5}', "top_p"),
        (b'{"num_beams": 17}', "num_beams"),
        (b'{"num_captions": 0}', "num_captions"),
        (b'{"max_tokens": 0}', "max_tokens"),
        (b'{"seed": -1}', "seed"),
        (b'{"stream": 1}', "stream"),
        (b'{"top_k": 1}', "top_k"),
        (b'{"prompt": "a"}', "prompt"),
    ],
)
async def test_options_of_a_caption_are_checked(rig: Rig, options: bytes, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        [one async for one in stream_task(rig.service, "dummy-captioner", TaskRequest([A], [], options), LIMITS)]
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (Task.MATCH, "dummy-matcher"),
        (Task.ENTAILMENT, "dummy-entailment"),
        (Task.REASONING, "dummy-reasoning"),
        (Task.EMBEDDINGS, "dummy-encoder"),
        (Task.REGIONS, "dummy-extractor"),
    ],
)
async def test_a_task_without_options_takes_an_empty_object_and_no_other(rig: Rig, task: Task, model: str) -> None:
    images = [A, B] if task is Task.REASONING else [A]
    texts = [] if task is Task.REGIONS else ["t"]
    assert (await asked(rig, task, model, images, texts, {})).results
    with pytest.raises(InvalidArgumentError, match="top_k"):
        await asked(rig, task, model, images, texts, {"top_k": 1})


async def test_a_deadline_that_has_passed_is_told(rig: Rig) -> None:
    with pytest.raises(VlpError, match="deadline"):
        await asked(rig, Task.VQA, "dummy", [A], ["q"], deadline=1e-9)
