"""Messages that lie, and messages made by chance: each gets a code, and the server goes on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from oip_rig import OipServer
from vlp_server.engines.dummy import FAIL_TOKEN
from vlp_server.oip.grpc_messages import SERVICE, message_class, methods

GRAPH = "dummy-fusion"
OK = grpc.StatusCode.OK
CALLERS_FAULT = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
CASES = 1500
Change = Callable[[Any], None]


def graph_request() -> Any:
    """One row of the dummy's graph, raw."""
    request = message_class("ModelInferRequest")(model_name=GRAPH)
    for name, datatype, shape, raw in (
        ("patches", "UINT8", (1, 1, 3), b"\1\2\3"),
        ("grid", "INT32", (1, 2), b"\1\0\0\0" * 2),
        ("input_ids", "INT32", (1, 2), b"\5\0\0\0" * 2),
        ("text_mask", "INT32", (1, 2), b"\1\0\0\0" * 2),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    return request


def serialized(message: Any) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


class Asker:
    """Calls methods by name, with our own messages."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)

    def __call__(self, name: str, request: Any) -> Any:
        """The code of a unary call; its answer must be one."""
        method = methods()[name]
        call = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=serialized,
            response_deserializer=message_class(method.output_type.name).FromString,
        )
        try:
            call(request, timeout=30)
        except grpc.RpcError as error:
            return grpc.StatusCode.INTERNAL if "Traceback" in error.details() else error.code()
        return OK

    def stream(self, requests: list[Any]) -> list[Any]:
        call = self.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=serialized,
            response_deserializer=message_class("ModelStreamInferResponse").FromString,
        )
        return list(call(iter(requests), timeout=60))


@pytest.fixture
def ask(dummy_oip: OipServer) -> Iterator[Asker]:
    asker = Asker(dummy_oip.address)
    yield asker
    assert asker("ModelInfer", graph_request()) is OK
    asker.channel.close()


def without_raw(request: Any) -> None:
    del request.raw_input_contents[:]


def too_many_raw(request: Any) -> None:
    request.raw_input_contents.append(b"")


def contents_beside_raw(request: Any) -> None:
    request.inputs[1].contents.int_contents.extend([1, 1])


def giant_values(request: Any) -> None:
    without_raw(request)
    request.inputs[0].contents.uint_contents.extend([1, 2, 2**31])


def sized(*shape: int) -> Change:
    def change(request: Any) -> None:
        request.inputs[1].shape[:] = shape

    return change


def typed(datatype: str) -> Change:
    def change(request: Any) -> None:
        request.inputs[1].datatype = datatype

    return change


def raw(content: bytes) -> Change:
    def change(request: Any) -> None:
        request.raw_input_contents[2] = content

    return change


def failing(request: Any) -> None:
    request.raw_input_contents[2] = FAIL_TOKEN.to_bytes(4, "little") * 2


def wanting(*names: str) -> Change:
    def change(request: Any) -> None:
        for name in names:
            request.outputs.add(name=name)

    return change


def many_parameters(request: Any) -> None:
    for number in range(100):
        request.parameters[str(number)].bool_param = True


def shared_memory(request: Any) -> None:
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"


LIES: dict[str, Change] = {
    "no contents": without_raw,
    "too many raw contents": too_many_raw,
    "contents beside raw ones": contents_beside_raw,
    "values out of range": giant_values,
    "a negative shape": sized(-1, -2),
    "a giant shape": sized(2**62, 2),
    "a shape of another rank": sized(2),
    "a shape of very many sizes": sized(*[1] * 500),
    "a shape of nothing": sized(),
    "another datatype": typed("FP32"),
    "a datatype that is none": typed("\x00" * 1000),
    "BYTES in place of numbers": typed("BYTES"),
    "bytes cut short": raw(b"\5\0\0"),
    "more bytes": raw(b"\5\0\0\0" * 3),
    "no bytes": raw(b""),
    "numbers that the graph fails on": failing,
    "an unknown output": wanting("x"),
    "an output twice": wanting("logits", "logits"),
    "very many outputs": wanting(*["logits"] * 1000),
    "very many parameters": many_parameters,
    "shared memory": shared_memory,
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused(name: str, ask: Asker) -> None:
    request = graph_request()
    LIES[name](request)
    assert ask("ModelInfer", request) is grpc.StatusCode.INVALID_ARGUMENT
    (answer,) = ask.stream([request])
    assert answer.error_message
    assert not answer.infer_response.outputs


def test_a_message_over_the_limit_is_refused_before_it_is_read(ask: Asker) -> None:
    request = graph_request()
    request.raw_input_contents[0] = b"\0" * (300 * 1024)
    assert ask("ModelInfer", request) is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("name", sorted(set(methods()) - {"ModelStreamInfer"}))
def test_bytes_that_are_no_message_are_refused(name: str, ask: Asker) -> None:
    assert ask(name, b"\xff\xff\xff") is grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message_end_no_stream(ask: Asker) -> None:
    refused, answered = ask.stream([b"\xff\xff\xff", graph_request()])
    assert "no message" in refused.error_message
    assert not answered.error_message


NAMES = ("", "x", "grid", "patches", GRAPH, "dummy.vqa", "dummy-captioner.caption", "\u00e4" * 50, "INT32", "BYTES")
SIZES = (-(2**63), -1, 0, 1, 2, 3, 64, 65, 2**31, 2**63 - 1)
DATATYPES = ("BOOL", "FP16", "FP32", "INT64", "UINT8", *NAMES)
Spoil = Callable[[random.Random, Any, Any], object]
# What goes wrong with a request, or with one of its inputs.
SPOILS: tuple[Spoil, ...] = (
    lambda dice, request, _: setattr(request, "model_name", dice.choice(NAMES)),
    lambda dice, request, _: setattr(request, "model_version", dice.choice(("", "1", "01", "-1", "9" * 40))),
    lambda dice, _, tensor: setattr(tensor, "name", dice.choice(NAMES)),
    lambda dice, _, tensor: setattr(tensor, "datatype", dice.choice(DATATYPES)),
    lambda dice, _, tensor: tensor.shape.append(dice.choice(SIZES)),
    lambda dice, _, tensor: tensor.shape.__setitem__(0, dice.choice(SIZES)) if tensor.shape else None,
    lambda dice, request, _: request.raw_input_contents.__delitem__(slice(dice.randrange(5), None)),
    lambda dice, request, _: request.raw_input_contents.append(dice.randbytes(dice.randrange(64))),
    lambda dice, _, tensor: tensor.contents.int_contents.extend(dice.choices(range(-5, 5), k=dice.randrange(6))),
    lambda dice, request, _: setattr(
        request.parameters[dice.choice(("priority", "timeout", "x"))], "int64_param", dice.choice(SIZES)
    ),
    lambda dice, request, _: request.outputs.add(name=dice.choice(("logits", *NAMES))),
)


def by_chance(dice: random.Random) -> Any:
    """A request that is mostly right, and wrong somewhere."""
    request = graph_request()
    for _ in range(dice.randint(1, 3)):
        dice.choice(SPOILS)(dice, request, dice.choice(request.inputs))
    return request


def test_messages_made_by_chance_never_meet_a_fault_of_ours(ask: Asker) -> None:
    dice = random.Random(7)
    codes = {ask("ModelInfer", by_chance(dice)) for _ in range(CASES)}
    assert codes <= {OK, *CALLERS_FAULT}
    assert grpc.StatusCode.INVALID_ARGUMENT in codes


def test_a_stream_of_them_has_an_answer_to_each(ask: Asker) -> None:
    dice = random.Random(11)
    requests = [by_chance(dice) for _ in range(300)]
    for number, request in enumerate(requests):
        request.id = str(number)
    answers = ask.stream(requests)
    assert [answer.infer_response.id for answer in answers] == [request.id for request in requests]
    assert not any("internal" in answer.error_message for answer in answers)


@pytest.mark.parametrize("name", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_names_by_chance(name: str, ask: Asker) -> None:
    dice = random.Random(13)
    kind = message_class(methods()[name].input_type.name)
    for _ in range(50):
        text = "".join(dice.choices("abc/.@\u00e4\n\x00 ", k=dice.randrange(200)))
        assert ask(name, kind(name=text, version=text)) in (OK, *CALLERS_FAULT)
