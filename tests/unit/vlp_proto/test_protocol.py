"""The protocol's code is what its .proto files give; its names follow one style; its numbers never change."""

from __future__ import annotations

import re
from pathlib import Path

import make_proto
import proto_lock
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from vlp_cli.proto_page import MARK, with_reference

DOCS = Path(__file__).parents[3] / "docs"
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")


@pytest.fixture(scope="module")
def protos() -> list[FileDescriptorProto]:
    return make_proto.described()


def messages(protos: list[FileDescriptorProto]) -> dict[str, DescriptorProto]:
    return {message.name: message for proto in protos for message in proto.message_type}


def upper_snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def test_the_committed_code_is_what_the_files_give(tmp_path: Path) -> None:
    written = make_proto.generate(tmp_path)
    committed = sorted(make_proto.ROOT.joinpath(make_proto.PACKAGE).glob("*_pb2*"))
    assert [path.name for path in committed] == [path.name for path in written]
    for here, there in zip(committed, written, strict=True):
        assert here.read_text() == there.read_text(), f"run: make proto ({here.name})"


def test_the_page_of_the_protocol_is_current() -> None:
    page = (DOCS / "grpc.md").read_text(encoding="utf-8")
    assert page == with_reference(page), "run: vlpserve generate"


def test_the_page_has_every_message_method_and_field(protos: list[FileDescriptorProto]) -> None:
    page = (DOCS / "grpc.md").read_text(encoding="utf-8").partition(MARK)[2]
    for name, message in messages(protos).items():
        _, _, rest = page.partition(f"\n### {name}\n")
        table = rest.partition("\n### ")[0]
        assert table.strip(), name
        for field in message.field:
            assert f"| `{field.name}` |" in table, f"{name}.{field.name}"
    for proto in protos:
        for service in proto.service:
            for method in service.method:
                assert f"#### {service.name}.{method.name}\n" in page


def test_all_files_are_of_one_package_and_lie_where_it_says(protos: list[FileDescriptorProto]) -> None:
    assert len(protos) == 4
    for proto in protos:
        assert proto.package == "vlp.v1"
        assert proto.name.startswith("vlp/v1/")
        assert proto.syntax == "proto3"


def test_names_follow_one_style(protos: list[FileDescriptorProto]) -> None:
    for name, message in messages(protos).items():
        assert PASCAL.fullmatch(name)
        for field in message.field:
            assert SNAKE.fullmatch(field.name), f"{name}.{field.name}"
    for proto in protos:
        for enum in proto.enum_type:
            prefix = upper_snake(enum.name) + "_"
            assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}UNSPECIFIED", 0)
            assert all(value.name.startswith(prefix) for value in enum.value)


def test_every_method_has_messages_of_its_own(protos: list[FileDescriptorProto]) -> None:
    methods = [method for proto in protos for service in proto.service for method in service.method]
    assert len(methods) == 26
    for method in methods:
        assert method.input_type == f".vlp.v1.{method.name}Request"
        assert method.output_type == f".vlp.v1.{method.name}Response"


def test_everything_has_a_comment(protos: list[FileDescriptorProto]) -> None:
    for path in make_proto.ROOT.joinpath(make_proto.PACKAGE).glob("*.proto"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.match(r"(service|message|enum|  rpc) ", line):
                assert lines[number - 1].lstrip().startswith("//"), f"{path.name}:{number + 1} {line}"


def test_names_and_numbers_are_those_that_are_locked(protos: list[FileDescriptorProto]) -> None:
    facts = proto_lock.facts_of(protos)
    locked = proto_lock.read_lock()
    assert proto_lock.changes(locked, facts) == []
    assert facts.items() <= locked.items(), "run: make proto"


def test_a_number_of_another_meaning_is_found(protos: list[FileDescriptorProto]) -> None:
    locked = proto_lock.facts_of(protos)
    changed = [FileDescriptorProto.FromString(proto.SerializeToString()) for proto in protos]
    box = messages(changed)["Box"]
    box.field[0].name = "left"
    del box.field[3]
    assert proto_lock.changes(locked, proto_lock.facts_of(changed)) == [
        "Box 1: was 'double x0', is 'double left'",
        "Box 4: was 'double y1', is 'gone'",
    ]
    box.field[0].name = "x0"
    box.reserved_range.add(start=4, end=5)
    assert proto_lock.changes(locked, proto_lock.facts_of(changed)) == []
