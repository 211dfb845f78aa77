"""proto_lock.json: every name and number that the protocol has ever had. What is there never changes its meaning.

Not part of the distribution; `make proto` adds what is new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

LOCK = Path(__file__).resolve().parent / "proto_lock.json"
Facts = dict[str, str]


def facts_of(files: Iterable[FileDescriptorProto]) -> Facts:
    """What callers rely on: "Message 3", "Enum 2" or "Service/Method" -> what it is."""
    facts: Facts = {}
    for file in files:
        for message in file.message_type:
            facts.update(_message_facts(message, message.name))
        for enum in file.enum_type:
            facts.update(_enum_facts(enum))
        for service in file.service:
            for method in service.method:
                takes = ("stream " if method.client_streaming else "") + method.input_type
                gives = ("stream " if method.server_streaming else "") + method.output_type
                facts[f"{service.name}/{method.name}"] = f"{takes} -> {gives}"
    return facts


def changes(locked: Facts, now: Facts) -> list[str]:
    """What would break those who speak the protocol as it was; a number that is reserved may be gone."""
    return [
        f"{place}: was {meaning!r}, is {now.get(place, 'gone')!r}"
        for place, meaning in locked.items()
        if now.get(place) not in (meaning, "reserved")
    ]


def read_lock() -> Facts:
    """The facts that are locked."""
    facts: Facts = json.loads(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else {}
    return facts


def write_lock(facts: Facts) -> None:
    """Lock facts."""
    LOCK.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _message_facts(message: DescriptorProto, name: str) -> Iterator[tuple[str, str]]:
    for field in message.field:
        kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        repeated = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
        yield f"{name} {field.number}", f"{repeated}{kind} {field.name}"
    for span in message.reserved_range:
        for number in range(span.start, span.end):
            yield f"{name} {number}", "reserved"
    for inner in message.nested_type:
        yield from _message_facts(inner, f"{name}.{inner.name}")


def _enum_facts(enum: EnumDescriptorProto) -> Iterator[tuple[str, str]]:
    for value in enum.value:
        yield f"{enum.name} {value.number}", value.name
    for span in enum.reserved_range:
        for number in range(span.start, span.end + 1):
            yield f"{enum.name} {number}", "reserved"
