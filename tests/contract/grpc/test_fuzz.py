"""Whatever is sent, the fault is the caller's: bytes that are no message, and messages of any content."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pictures_made as pictures
import pytest
from asgi_bridge import LoopThread
from collection_rig import collection_service
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_rig import ALL_MODELS, on_free_port, picture_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vlp_proto.vlp.v1 import collections_pb2, models_pb2, vision_language_pb2
from vlp_server.config import ServerConfig
from vlp_server.grpc.server import GrpcServer

CASES_A_METHOD = 90
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in (vision_language_pb2, collections_pb2, models_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
NOT_THE_CALLERS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED)
PICTURES = (pictures.jpeg(), pictures.png(), pictures.one_pixel(), pictures.truncated_jpeg(), pictures.header_bomb())
# What a caller could mean, so that calls get further than their first check. One model alone may be taken away.
WORDS = {
    "model": ("dummy", "dummy@1", "dummy@9", "dummy-captioner", "dummy-reader", "nobody"),
    "name": ("things", "dummy-grounding", "../etc"),
    "collection": ("things", "things", "", "others"),
    "id": ("a", "b", "a/b", ""),
    "url": ("http://127.0.0.1/", "file:///etc/passwd"),
}
FLOATS = st.floats(width=64) | st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0])
FLOATS_32 = st.floats(width=32) | st.sampled_from([0.0, 1.0])
SMALL = st.integers(-2, 20)
PLAIN: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: FLOATS,
    FieldDescriptor.TYPE_FLOAT: FLOATS_32,
    FieldDescriptor.TYPE_INT32: SMALL | st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: SMALL | st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=64)
    | st.lists(FLOATS_32, max_size=16).map(lambda numbers: struct.pack(f"<{len(numbers)}f", *numbers)),
    FieldDescriptor.TYPE_ENUM: st.integers(-1, 6),
}


def value_of(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return message_of(field.message_type, depth + 1)
    if field.type == FieldDescriptor.TYPE_STRING:
        text = st.text(max_size=12)
        return st.sampled_from(WORDS[field.name]) | text if field.name in WORDS else text | st.just("what is it?")
    if field.name == "content":
        return st.sampled_from(PICTURES) | PLAIN[field.type]
    return PLAIN[field.type]


@st.composite
def message_of(draw: st.DrawFn, kind: Descriptor, depth: int = 0) -> Message:
    message = GetMessageClass(kind)()
    if kind.full_name == "vlp.v1.Picture" and draw(st.booleans()):
        return picture_of(draw(st.sampled_from(PICTURES)))
    for field in kind.fields:
        if depth > 4 or draw(st.integers(0, 3)) == 0:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            members = st.dictionaries(st.text(max_size=4), value_of(entry, depth + 1), max_size=2)
            for key, value in draw(members).items():
                getattr(message, field.name)[key].CopyFrom(value)  # the only map of a request is that of a Struct
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(value_of(field, depth), max_size=3)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(value_of(field, depth)))
        else:
            setattr(message, field.name, draw(value_of(field, depth)))
    return message


PICTURE = picture_of(PICTURES[0])
SOUND: dict[str, Message] = {
    "Vqa": vision_language_pb2.VqaRequest(picture=PICTURE, questions=["a"]),
    "Classify": vision_language_pb2.ClassifyRequest(picture=PICTURE, labels=["a", "b"]),
    "Entailment": vision_language_pb2.EntailmentRequest(picture=PICTURE, hypotheses=["a"]),
    "Caption": vision_language_pb2.CaptionRequest(picture=PICTURE),
    "StreamCaption": vision_language_pb2.StreamCaptionRequest(
        request=vision_language_pb2.CaptionRequest(picture=PICTURE)
    ),
    "Match": vision_language_pb2.MatchRequest(picture=PICTURE, texts=["a"]),
    "Reasoning": vision_language_pb2.ReasoningRequest(left=PICTURE, right=PICTURE, statements=["a"]),
    "Grounding": vision_language_pb2.GroundingRequest(picture=PICTURE, phrases=["a"]),
    "Regions": vision_language_pb2.RegionsRequest(picture=PICTURE),
    "Embed": vision_language_pb2.EmbedRequest(inputs=[vision_language_pb2.EmbedInput(text="a")]),
    "CreateCollection": collections_pb2.CreateCollectionRequest(name="more"),
    "AddItems": collections_pb2.AddItemsRequest(
        collection="things", items=[collections_pb2.NewItem(id="a", picture=PICTURE)]
    ),
    "LookupItems": collections_pb2.LookupItemsRequest(collection="things", ids=["a"]),
    "GetItem": collections_pb2.GetItemRequest(collection="things", id="a"),
    "GetItemPicture": collections_pb2.GetItemPictureRequest(collection="things", id="a"),
    "Search": collections_pb2.SearchRequest(collection="things", text="a"),
}


@st.composite
def nearly_sound(draw: st.DrawFn, sound: Message) -> Message:
    """A sound message, of which two fields at most are anything."""
    message = type(sound)()
    message.CopyFrom(sound)
    for _ in range(draw(st.integers(0, 2))):
        field = draw(st.sampled_from(list(sound.DESCRIPTOR.fields)))
        message.ClearField(field.name)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(value_of(field, 0), min_size=1, max_size=3)))
        elif field.message_type is None:
            setattr(message, field.name, draw(value_of(field, 0)))
        elif field.message_type.full_name == "vlp.v1.CaptionRequest":
            message.request.CopyFrom(draw(nearly_sound(SOUND["Caption"])))
        else:
            getattr(message, field.name).CopyFrom(draw(value_of(field, 0)))
    return message


def sent_to(method: MethodDescriptor) -> st.SearchStrategy[Message]:
    anything = message_of(method.input_type)
    return nearly_sound(SOUND[method.name]) | anything if method.name in SOUND else anything


@st.composite
def broken(draw: st.DrawFn, method: MethodDescriptor) -> bytes:
    """A message that was cut, repeated, or has bytes turned; or bytes of no message at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    data = bytearray(draw(sent_to(method)).SerializeToString())
    for _ in range(draw(st.integers(1, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data + data[:50])


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """To a server with all dummy models and a collection, in a thread of its own."""
    loop = LoopThread()
    folder: Path = tmp_path_factory.mktemp("fuzz")
    config = ServerConfig()
    config = on_free_port(replace(config, http=replace(config.http, admin=True)))
    opened = collection_service(folder, ALL_MODELS)

    async def start() -> GrpcServer:
        server = GrpcServer(await opened.__aenter__(), config)
        await server.start()
        return server

    async def stop() -> None:
        await server.stop(0.0)
        await opened.__aexit__(None, None, None)

    server = loop.run(start())
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    loop.run(stop())
    loop.close()


@pytest.fixture(autouse=True)
def things(channel: grpc.Channel) -> None:
    """The collection of two items that most calls about collections name."""
    items = [collections_pb2.NewItem(id=one, picture=picture_of(PICTURES[0])) for one in ("a", "b")]
    create = collections_pb2.CreateCollectionRequest(name="things")
    add = collections_pb2.AddItemsRequest(collection="things", items=items)
    for name, request in (("CreateCollection", create), ("AddItems", add)):
        code, details = status_of(channel, f"/vlp.v1.Collections/{name}", [request.SerializeToString()])
        assert code is grpc.StatusCode.OK, details


def status_of(channel: grpc.Channel, path: str, messages: list[bytes]) -> tuple[grpc.StatusCode, str]:
    """How a call ends."""
    call = channel.stream_stream(path)(iter(messages), timeout=60)
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        pass
    return call.code(), call.details()


fuzzed = settings(
    max_examples=CASES_A_METHOD,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("path", METHODS)
def test_any_message_is_answered_or_refused(path: str, channel: grpc.Channel) -> None:
    method = METHODS[path]
    streams = st.lists(sent_to(method), min_size=1, max_size=3 if method.client_streaming else 1)

    @fuzzed
    @given(streams)
    def check(messages: list[Message]) -> None:
        code, details = status_of(channel, path, [message.SerializeToString() for message in messages])
        assert code not in NOT_THE_CALLERS, (details, messages)

    check()


@pytest.mark.parametrize("path", METHODS)
def test_any_bytes_are_answered_or_refused(path: str, channel: grpc.Channel) -> None:
    method = METHODS[path]

    @fuzzed
    @given(st.lists(broken(method), max_size=2))
    def check(messages: list[bytes]) -> None:
        code, details = status_of(channel, path, messages)
        assert code not in NOT_THE_CALLERS, (details, messages)

    check()


def test_it_still_answers_after_all_that(channel: grpc.Channel) -> None:
    request = vision_language_pb2.VqaRequest(picture=picture_of(PICTURES[0]), questions=["what is it?"])
    answer = channel.unary_unary("/vlp.v1.VisionLanguage/Vqa")(request.SerializeToString(), timeout=60)
    assert vision_language_pb2.VqaResponse.FromString(answer).model == "dummy@1"
