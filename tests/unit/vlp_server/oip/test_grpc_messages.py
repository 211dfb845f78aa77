"""Our messages are the protocol's, field by field, and live beside tritonclient's in one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2
from vlp_server.intake.grpc_codes import STATUS
from vlp_server.oip import grpc_descriptor
from vlp_server.oip.grpc_messages import message_class, message_pool, methods
from vlp_spec.errors import ErrorKind

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))

from oip_descriptor import module_text

FILE = message_pool().FindFileByName("vlp_server/oip/inference.proto")


def all_messages(owner: Any) -> Iterator[Any]:
    found = owner.message_types_by_name.values() if hasattr(owner, "message_types_by_name") else owner.nested_types
    for message in found:
        yield message
        yield from all_messages(message)


def theirs_of(name: str) -> Any:
    for module in (service_pb2, model_config_pb2):
        try:
            return module.DESCRIPTOR.pool.FindMessageTypeByName(name)
        except KeyError:
            continue
    raise AssertionError(name)


def described(field: Any) -> tuple[Any, ...]:
    kinds = tuple(
        one.full_name for one in (field.message_type, field.enum_type, field.containing_oneof) if one is not None
    )
    return field.name, field.number, field.type, field.is_repeated, kinds


@pytest.mark.parametrize("message", list(all_messages(FILE)), ids=lambda message: message.full_name)
def test_every_field_is_the_protocol_s(message: Any) -> None:
    theirs = {field.name: described(field) for field in theirs_of(message.full_name).fields}
    assert {field.name: described(field) for field in message.fields}.items() <= theirs.items()


def test_every_method_is_the_protocol_s() -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for name, method in methods().items():
        own = (method.input_type.full_name, method.output_type.full_name)
        assert own == (theirs[name].input_type.full_name, theirs[name].output_type.full_name)
        assert (method.client_streaming, method.server_streaming) == (
            theirs[name].client_streaming,
            theirs[name].server_streaming,
        )
    assert len(methods()) == 10


def test_the_enums_have_the_protocol_s_numbers() -> None:
    for name, own in FILE.enum_types_by_name.items():
        theirs = model_config_pb2.DESCRIPTOR.enum_types_by_name[name].values_by_name
        assert {value.name: value.number for value in own.values} == {
            value.name: value.number for value in theirs.values()
        }


def test_bytes_of_the_one_are_read_by_the_other() -> None:
    ours = message_class("ModelInferRequest")(model_name="m", id="7", raw_input_contents=[b"abc"])
    ours.parameters["priority"].uint64_param = 2
    ours.inputs.add(name="x", datatype="UINT8", shape=[1, 3])
    theirs = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())
    assert (theirs.model_name, theirs.inputs[0].name, theirs.parameters["priority"].uint64_param) == ("m", "x", 2)
    assert type(ours) is not type(theirs)


def test_the_descriptor_is_current() -> None:
    text = Path(grpc_descriptor.__file__).read_text(encoding="utf-8")
    assert text == module_text(), "run: python tests/support/oip_descriptor.py"


def test_every_kind_has_a_code() -> None:
    assert set(STATUS) == set(ErrorKind)
