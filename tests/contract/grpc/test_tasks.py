"""Every task over gRPC gives what the core gives."""

from __future__ import annotations

import io
from typing import Any

import grpc
import numpy as np
import pictures_made as pictures
import pytest
from grpc_rig import Rig, picture_of, trailing
from vlp_proto.vlp.v1 import content_pb2, vision_language_pb2
from vlp_spec.tasks import CaptionQuery, ClassifyQuery, GroundingQuery, MatchQuery, ReasoningQuery, VqaQuery

pb = vision_language_pb2
PICTURE, OTHER = pictures.png(), pictures.jpeg()
SENT = picture_of(PICTURE)


def core(rig: Rig) -> Any:
    return rig.server.door.service


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_questions_are_answered_in_their_order(rig: Rig) -> None:
    questions = ["what is it?", "is it red?"]
    call = rig.vision.Vqa(pb.VqaRequest(picture=SENT, questions=questions, top_k=2))
    response = await call
    reply = await core(rig).vqa(PICTURE, [VqaQuery(question, 2) for question in questions])
    assert response.model == reply.model == "dummy@1"
    assert [result.question for result in response.results] == questions
    got = [[(one.answer, one.score) for one in result.answers] for result in response.results]
    assert got == [[(one.answer, one.score) for one in result.answers] for result in reply.results]
    metadata = {name: value for name, value in await call.trailing_metadata()}
    assert len(metadata["x-request-id"]) == 32
    assert "infer;dur=" in metadata["server-timing"]
    assert metadata["server-timing"].rpartition(", ")[2].startswith("total;dur=")


async def test_a_closed_list_and_the_default_number_of_answers(rig: Rig) -> None:
    whole = await rig.vision.Vqa(pb.VqaRequest(model="dummy", picture=SENT, questions=["a"]))
    closed = await rig.vision.Vqa(pb.VqaRequest(picture=SENT, questions=["a"], answers=["yes", "no"]))
    assert len(whole.results[0].answers) == 5
    assert {one.answer for one in closed.results[0].answers} == {"yes", "no"}


async def test_texts_are_matched_and_labels_scored(rig: Rig) -> None:
    matched = await rig.vision.Match(pb.MatchRequest(picture=SENT, texts=["a cat", "a dog"]))
    reply = await core(rig).match(PICTURE, [MatchQuery("a cat"), MatchQuery("a dog")])
    assert [(one.text, one.score) for one in matched.scores] == [
        (text, result.score) for text, result in zip(["a cat", "a dog"], reply.results, strict=True)
    ]
    assert [one.itm for one in matched.scores] == [result.score for result in reply.results]
    request = pb.ClassifyRequest(picture=SENT, labels=["cat", "dog"], templates=["a {}", "one {}"])
    classified = await rig.vision.Classify(request)
    labels = await core(rig).classify(PICTURE, ClassifyQuery(("cat", "dog"), ("a {}", "one {}")))
    assert [(one.label, one.score) for one in classified.scores] == [
        (one.label, one.score) for one in labels.result.scores
    ]


async def test_pictures_are_judged(rig: Rig) -> None:
    entailed = await rig.vision.Entailment(pb.EntailmentRequest(picture=SENT, hypotheses=["a", "b"]))
    assert [result.hypothesis for result in entailed.results] == ["a", "b"]
    for result in entailed.results:
        assert result.label == result.scores[0].label
        assert sum(one.score for one in result.scores) == pytest.approx(1.0)
    reasoned = await rig.vision.Reasoning(
        pb.ReasoningRequest(left=SENT, right=picture_of(OTHER), statements=["a", "b"])
    )
    assert [result.label for result in reasoned.results] == [result.score >= 0.5 for result in reasoned.results]
    judged = await core(rig).reasoning((PICTURE, OTHER), [ReasoningQuery("a"), ReasoningQuery("b")])
    assert [one.score for one in reasoned.results] == [one.score for one in judged.results]
    grounded = await rig.vision.Grounding(pb.GroundingRequest(picture=SENT, phrases=["the cat"], top_k=2))
    reply = await core(rig).grounding(PICTURE, [GroundingQuery("the cat", 2)])
    boxes = [(one.box.x0, one.box.y0, one.box.x1, one.box.y1) for one in grounded.results[0].boxes]
    assert boxes == [one.box for one in reply.results[0].boxes]


async def test_captions_come_whole_and_word_by_word(rig: Rig) -> None:
    request = pb.CaptionRequest(picture=SENT, max_tokens=6)
    whole = await rig.vision.Caption(request)
    events = [event async for event in rig.vision.StreamCaption(pb.StreamCaptionRequest(request=request))]
    assert [event.WhichOneof("event") for event in events[:-1]] == ["text"] * (len(events) - 1)
    assert len(events) > 2
    assert "".join(event.text for event in events[:-1]) == whole.captions[0].text
    assert events[-1].answer.captions[0].text == whole.captions[0].text
    reply = await core(rig).caption(PICTURE, CaptionQuery(num_captions=2))
    several = await rig.vision.Caption(pb.CaptionRequest(picture=SENT, num_captions=2))
    assert [one.text for one in several.captions] == [one.text for one in reply.results[0].captions]


async def test_a_streamed_caption_that_is_refused_has_its_status(rig: Rig) -> None:
    request = pb.CaptionRequest(picture=SENT, num_beams=99)
    stream = rig.vision.StreamCaption(pb.StreamCaptionRequest(request=request))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(stream))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing(caught.value)["error-field"] == "num_beams"


async def test_texts_and_pictures_are_embedded_mixed(rig: Rig) -> None:
    inputs = [pb.EmbedInput(text="a cat"), pb.EmbedInput(picture=SENT)]
    response = await rig.vision.Embed(pb.EmbedRequest(inputs=inputs))
    reply = await core(rig).embed(["a cat", PICTURE])
    np.testing.assert_array_equal([one.values for one in response.vectors], reply.vectors)
    assert (response.encoder, response.tokens) == (reply.encoder, reply.tokens)
    many = await rig.vision.Embed(pb.EmbedRequest(inputs=[pb.EmbedInput(text=f"text {n}") for n in range(1100)]))
    assert len(many.vectors) == 1100


async def test_regions_go_back_in_the_place_of_the_picture(rig: Rig) -> None:
    found = await rig.vision.Regions(pb.RegionsRequest(picture=SENT, features=True))
    bare = await rig.vision.Regions(pb.RegionsRequest(picture=SENT))
    assert (bare.features, bare.feature_size) == (b"", 0)
    assert len(found.features) == 4 * found.feature_size * len(found.regions)
    regions = content_pb2.Regions(
        boxes=[one.box for one in found.regions],
        features=found.features,
        scores=[one.score for one in found.regions],
    )
    of_picture = await rig.vision.Vqa(pb.VqaRequest(model="dummy-reader", picture=SENT, questions=["a"]))
    of_regions = await rig.vision.Vqa(
        pb.VqaRequest(model="dummy-reader", picture=content_pb2.Picture(regions=regions), questions=["a"])
    )
    assert of_regions == of_picture
    boxes = np.array([(b.x0, b.y0, b.x1, b.y1) for b in regions.boxes], dtype=np.float32)
    features = np.frombuffer(found.features, dtype="<f4").reshape(len(boxes), -1)
    file = io.BytesIO()
    np.savez(file, boxes=boxes, features=features, scores=np.array(regions.scores, dtype=np.float32))
    npz = content_pb2.Picture(regions_npz=file.getvalue())
    of_file = await rig.vision.Vqa(pb.VqaRequest(model="dummy-reader", picture=npz, questions=["a"]))
    assert of_file == of_picture


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.VqaRequest(picture=SENT), "questions"),
        (pb.VqaRequest(picture=SENT, questions=["a", " "]), "questions[1]"),
        (pb.VqaRequest(questions=["a"]), "picture"),
        (pb.VqaRequest(picture=content_pb2.Picture(url="ftp://host/a"), questions=["a"]), "picture"),
        (pb.VqaRequest(picture=content_pb2.Picture(url="http://host/a"), questions=["a"]), "image"),
        (pb.VqaRequest(picture=SENT, questions=["a"], top_k=0), "top_k"),
        (pb.VqaRequest(picture=content_pb2.Picture(regions=content_pb2.Regions()), questions=["a"]), "regions"),
        (pb.VqaRequest(picture=content_pb2.Picture(regions_npz=b"no file"), questions=["a"]), "regions"),
        (pb.VqaRequest(model=" ", picture=SENT, questions=["a"]), "model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_wrong_is_named(request_: pb.VqaRequest, field: str, rig: Rig) -> None:
    error = await refused(rig.vision.Vqa(request_))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert trailing(error)["error-kind"] == "invalid_argument"
    assert trailing(error)["error-field"] == field


async def test_limits_are_those_of_http(rig: Rig) -> None:
    limits = rig.server.door.config.limits
    many = await refused(rig.vision.Vqa(pb.VqaRequest(picture=SENT, questions=["a"] * (limits.questions + 1))))
    long = await refused(rig.vision.Vqa(pb.VqaRequest(picture=SENT, questions=["a" * (limits.question_chars + 1)])))
    assert [trailing(error)["error-kind"] for error in (many, long)] == ["too_large", "too_large"]
