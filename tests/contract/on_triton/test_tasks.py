"""Tasks on Triton itself, asked as anybody would: with tritonclient, or with nothing but HTTP."""

import json
import queue
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from service_rig import Rig, picture
from tritonclient.utils import InferenceServerException
from vlp_server.core.settings import EngineSettings, ModelSettings
from vlp_server.engines.task_wire import parse_result
from vlp_server.engines.triton_control import control_metadata
from vlp_spec.found_deployment import find_deployment
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


def computed(triton, deployment):
    """Rows that the graphs of a deployment have computed."""
    graphs = find_deployment(zoo_path() / "repository", deployment).deployment.graphs
    return sum(triton.metric("nv_inference_count", model=graph.name) for graph in graphs)


def test_the_same_question_is_answered_again_without_its_graphs(client, triton):
    model, data = "scenes-vilt-vqa.vqa", picture("green", (77, 66))
    first = ask(client, model, [data], ["what is there ?"])
    before = computed(triton, "scenes-vilt-vqa")
    assert ask(client, model, [data], ["what is there ?"]) == first
    assert computed(triton, "scenes-vilt-vqa") == before
    ask(client, model, [data], ["how many cats are there ?"])
    assert computed(triton, "scenes-vilt-vqa") == before + 1


@pytest.mark.parametrize(
    ("model", "images", "texts", "kind"),
    [
        ("scenes-vilt-vqa.vqa", [b"no picture"], ["what ?"], "invalid_image: "),
        ("scenes-vilt-vqa.vqa", [PICTURE], [" "], "invalid_argument(question): "),
        ("scenes-clip.embeddings", [b"no picture"], [], "invalid_image: "),
        ("scenes-clip.classify", [PICTURE], ["a", "a"], "invalid_argument(labels): "),
        ("scenes-detector.regions", [b"no picture"], [], "invalid_image: "),
    ],
)
def test_a_fault_is_the_same_fault_again(client, model, images, texts, kind):
    faults = [fault(client, model, images, texts) for _ in range(3)]
    assert faults[0] == faults[1] == faults[2]
    assert (faults[0][0], faults[0][1][: len(kind)]) == ("StatusCode.INVALID_ARGUMENT", kind)


def test_a_deadline_and_a_lane_come_as_parameters(client, triton):
    model = "scenes-vilt-vqa.vqa"

    def refused(text, **parameters):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(model, inputs([PICTURE], [text]), parameters=parameters)
        return caught.value.message().partition(": ")[0]

    assert refused("are there two dogs ?", timeout_ms=1) == "deadline_exceeded"
    for given in ({"timeout_ms": 0}, {"timeout_ms": 3_600_001}, {"timeout_ms": "5"}, {"timeout_ms": True}):
        assert refused("what ?", **given) == "invalid_argument(timeout_ms)"
    assert refused("what ?", lane="express") == "invalid_argument(lane)"
    for lane in ("interactive", "bulk"):
        reply = client.infer(
            model, inputs([PICTURE], [f"{lane} ?"]), parameters={"lane": lane, "timeout_ms": 30_000, "other": "x"}
        )
        assert len(reply.as_numpy("answer")) == 1
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a cat"]}
    url = "/v2/models/scenes-clip.embeddings/infer"
    for parameters, expected in (({"lane": "bulk", "timeout_ms": 30_000}, 200), ({"timeout_ms": 1.5}, 400)):
        status, answer = triton.post(url, {"inputs": [text], "parameters": parameters})
        assert status == expected, answer


def test_one_request_holds_no_more_than_a_call_of_the_http_api(client):
    for model, images, texts, options in (
        ("scenes-vilt-vqa.vqa", [PICTURE], ["what ?"] * 65, {}),
        ("scenes-clip.classify", [PICTURE], [str(number) for number in range(1001)], {}),
        ("scenes-clip.classify", [PICTURE], ["cat"], {"templates": [f"{number} {{}}" for number in range(101)]}),
        ("scenes-clip.embeddings", [], ["a cat"] * 2049, {}),
        ("scenes-itm.match", [PICTURE], ["a cat"] * 65, {}),
    ):
        status, message = fault(client, model, images, texts, **options)
        assert (status, message.partition(": ")[0]) == ("StatusCode.INVALID_ARGUMENT", "too_large")


def test_a_task_lives_through_its_graph_being_unloaded_and_loaded_again(client, control_secret_file):
    headers, model = control_metadata(control_secret_file), "tiny.vqa"
    assert len(ask(client, model, [PICTURE], ["what"])[0]) == 1
    client.unload_model("tiny-fp32", headers=headers)
    try:
        wait_until(lambda: not client.is_model_ready("tiny-fp32"))
        for text in ("is", "how many"):
            status, message = fault(client, model, [PICTURE], [text])
            assert (status, message.partition(": ")[0]) == ("StatusCode.UNAVAILABLE", "unavailable")
    finally:
        client.load_model("tiny-fp32", headers=headers)
    wait_until(lambda: answers_or_is_unavailable(client, model, "colour"))


def answers_or_is_unavailable(client, model, text):
    """Whether there is an answer; a fault of any other kind is an error."""
    try:
        return len(ask(client, model, [PICTURE], [text])[0]) == 1
    except InferenceServerException as error:
        if not error.message().startswith("unavailable: "):
            raise
        return False


def wait_until(condition, limit_s=30.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_plain_http_is_enough(triton):
    body = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a cat", "two dogs"]}]}
    status, answer = triton.post("/v2/models/scenes-clip.embeddings/infer", body)
    assert status == 200, answer
    outputs = {one["name"]: one for one in json.loads(answer)["outputs"]}
    assert outputs["embeddings"]["shape"][0] == 2
