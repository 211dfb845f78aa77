"""Tasks on Triton itself, asked as anybody would: with tritonclient, or with nothing but HTTP."""

import json
import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from service_rig import Rig, picture
from tritonclient.utils import InferenceServerException
from vlp_server.core.settings import EngineSettings, ModelSettings
from vlp_server.engines.task_wire import parse_result
from vlp_spec.tasks import CaptionQuery, Task, VqaQuery
from vlp_zoo import zoo_path

PICTURE, OTHER = picture("red", (90, 70)), picture("blue", (70, 90))
FINAL = "triton_final_response"


@pytest.fixture(scope="module")
def client(triton):
    with triton_grpc.InferenceServerClient(triton.url) as made:
        yield made


def strings(name, values):
    tensor = triton_grpc.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_))
    return tensor


def inputs(images=(), texts=(), **options):
    made = [strings("image", list(images))] if images else []
    made += [strings("text", [text.encode() for text in texts])] if texts else []
    return [*made, *([strings("options", [json.dumps(options).encode()])] if options else [])]


def ask(client, model, images=(), texts=(), **options):
    """Answers in words, and results."""
    reply = client.infer(model, inputs(images, texts, **options))
    answers = reply.as_numpy("answer")
    return [] if answers is None else [one.decode() for one in answers], [
        bytes(one) for one in reply.as_numpy("result")
    ]


def fault(client, *given, **options):
    with pytest.raises(InferenceServerException) as caught:
        ask(client, *given, **options)
    return caught.value.status(), caught.value.message()


async def embedded(reference, ask):
    settings = ModelSettings(
        reference=reference, repository=zoo_path() / "repository", engine=EngineSettings(threads=1)
    )
    async with Rig(settings) as rig:
        return (await ask(rig.service)).results


async def test_several_questions_about_a_picture_are_answered_as_by_the_embedded_engine(client):
    texts = ["what is there ?", "how many cats are there ?"]
    answers, results = ask(client, "scenes-vilt-vqa.vqa", [PICTURE], texts, top_k=3)
    wanted = await embedded("scenes-vilt-vqa", lambda s: s.vqa(PICTURE, [VqaQuery(text, 3) for text in texts]))
    for answer, result, expected in zip(answers, results, wanted, strict=True):
        got = parse_result(Task.VQA, result)
        assert [one.answer for one in got.answers] == [one.answer for one in expected.answers]
        scores = [[one.score for one in each.answers] for each in (got, expected)]
        np.testing.assert_allclose(*scores, atol=1e-4)
        assert answer == expected.answers[0].answer


@pytest.mark.parametrize(
    ("model", "images", "texts"),
    [
        ("scenes-itm.match", [PICTURE], ["a red thing", "a cat"]),
        ("scenes-clip.classify", [PICTURE], ["red", "blue"]),
        ("scenes-uniter-entailment.entailment", [PICTURE], ["there is a cat"]),
        ("scenes-uniter-grounding.grounding", [PICTURE], ["the cat"]),
        ("scenes-uniter-reasoning.reasoning", [PICTURE, OTHER], ["both show a cat"]),
        ("tiny-vqa.vqa", [PICTURE], ["what color is it ?"]),
        ("tiny-match.match", [PICTURE], ["a red cat"]),
        ("tiny-reasoning.reasoning", [PICTURE, OTHER], ["two dogs"]),
    ],
)
def test_every_judging_task_gives_an_answer_in_words_and_a_result(client, model, images, texts):
    answers, results = ask(client, model, images, texts)
    count = 1 if model.endswith("classify") else len(texts)
    assert len(answers) == len(results) == count
    assert all(answers)
    for result in results:
        assert parse_result(Task(model.rpartition(".")[2]), result)


def test_vectors_and_regions_come_as_arrays(client):
    reply = client.infer("scenes-clip.embeddings", inputs([PICTURE, OTHER], ["a cat"]))
    vectors = reply.as_numpy("embeddings")
    assert vectors.shape[0] == 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    reply = client.infer("scenes-detector.regions", inputs([PICTURE]))
    told = json.loads(reply.as_numpy("result")[0])
    assert len(reply.as_numpy("features")) == len(told["boxes"]) == len(told["names"])


def test_faults_have_a_status_a_kind_and_a_field(client):
    vqa = "scenes-vilt-vqa.vqa"
    for given, options, kind in (
        (([b"none"], ["what ?"]), {}, "invalid_image: "),
        (([PICTURE], [" "]), {}, "invalid_argument(question): "),
        (([PICTURE, OTHER], ["what ?"]), {}, "invalid_argument(image): "),
        (([PICTURE], ["what ?"]), {"colour": 1}, "invalid_argument(colour): "),
        (([PICTURE], ["what ?"]), {"top_k": "many"}, "invalid_argument(top_k): "),
        (([PICTURE], ["x" * 5000]), {}, "too_large: "),
    ):
        status, message = fault(client, vqa, *given, **options)
        assert (status, message[: len(kind)]) == ("StatusCode.INVALID_ARGUMENT", kind)
    assert ask(client, vqa, [PICTURE], ["what ?"])[0]


def test_one_broken_request_among_many_fails_alone(client):
    pictures = [picture("red", (60 + number, 60)) for number in range(12)]
    pictures[7] = b"broken"

    def one(data):
        try:
            return ask(client, "scenes-vilt-vqa.vqa", [data], ["what is there ?"])[0]
        except InferenceServerException as error:
            return error.message()

    with ThreadPoolExecutor(12) as pool:
        got = list(pool.map(one, pictures))
    assert got.pop(7).startswith("invalid_image: ")
    assert all(isinstance(answers, list) and answers for answers in got)


class Stream:
    """A decoupled model, asked over one stream."""

    def __init__(self, client):
        self._client, self._news = client, queue.Queue()

    def __enter__(self):
        self._client.start_stream(lambda result, error: self._news.put((result, error)))
        return self

    def __exit__(self, *_):
        self._client.stop_stream()

    def ask(self, model, images, texts=(), **options):
        """Pieces, results and the error, until the last one has come."""
        given = inputs(images, texts, **options)
        self._client.async_stream_infer(model, given, enable_empty_final_response=True)
        pieces, results = [], []
        while True:
            reply, error = self._news.get(timeout=60)
            if error is not None:
                return pieces, results, error.message()
            for name, found in (("answer", pieces), ("result", results)):
                values = reply.as_numpy(name)
                found.extend([] if values is None else [bytes(one) for one in values])
            if reply.get_response().parameters[FINAL].bool_param:
                return pieces, results, None


async def test_a_caption_is_streamed_in_pieces_and_ends_with_the_whole(client):
    with Stream(client) as stream:
        pieces, results, _ = stream.ask("scenes-blip.caption", [PICTURE], stream=True)
        whole, same, _ = stream.ask("scenes-blip.caption", [PICTURE])
        _, two, _ = stream.ask("scenes-blip.caption", [PICTURE], num_beams=3, num_captions=2)
        _, _, refused = stream.ask("scenes-blip.caption", [PICTURE], num_beams=99)
    (expected,) = await embedded("scenes-blip", lambda s: s.caption(PICTURE, CaptionQuery()))
    assert len(pieces) > 2
    assert b"".join(pieces) == whole[0] == expected.captions[0].text.encode()
    assert results == same
    assert len(parse_result(Task.CAPTION, two[0]).captions) == 2
    assert refused.startswith("invalid_argument(num_beams): ")


def test_the_response_cache_answers_the_same_question_again_and_no_other(client, triton):
    model, data = "scenes-vilt-vqa.vqa", picture("green", (77, 66))
    hits = triton.metric("nv_cache_num_hits_per_model", model=model)
    first = ask(client, model, [data], ["what is there ?"])
    assert ask(client, model, [data], ["what is there ?"]) == first
    assert triton.metric("nv_cache_num_hits_per_model", model=model) == hits + 1
    ask(client, model, [data], ["how many cats are there ?"])
    assert triton.metric("nv_cache_num_hits_per_model", model=model) == hits + 1


def test_plain_http_is_enough(triton):
    body = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a cat", "two dogs"]}]}
    status, answer = triton.post("/v2/models/scenes-clip.embeddings/infer", body)
    assert status == 200, answer
    outputs = {one["name"]: one for one in json.loads(answer)["outputs"]}
    assert outputs["embeddings"]["shape"][0] == 2
