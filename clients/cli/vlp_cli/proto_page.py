"""docs/grpc.md: the part that is made from the .proto files and their comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files

MARK = "<!-- From here on: made from the .proto files by `vlpserve generate`. -->\n"
_FILES = ("vision_language", "collections", "models", "content")
_BLOCK = re.compile(r"(service|message|enum) (\w+) \{(\})?")
_RPC = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);")
_FIELD = re.compile(r"((?:optional |repeated )?(?:map<\w+, \w+>|[\w.]+)) (\w+) = (\d+);")
_VALUE = re.compile(r"(\w+) = (\d+);")
_ONEOF = re.compile(r"oneof (\w+) \{")


@dataclass(slots=True)
class _Block:
    """A service, message or enum: what is said of it, and the rows of its table."""

    kind: str
    name: str
    text: str
    rows: list[tuple[str, ...]] = field(default_factory=list)


def with_reference(page: str) -> str:
    """The page with its made part written anew.

    Args:
        page: as it is; what stands above the mark is kept.

    Raises:
        ValueError: it has no mark.
    """
    opening, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"docs/grpc.md has lost its line {MARK.strip()!r}")
    return opening + mark + reference()


def reference() -> str:
    """All services, then all messages and enums, file by file."""
    blocks = [block for name in _FILES for block in _blocks(_source(name))]
    services = [_service(block) for block in blocks if block.kind == "service"]
    others = [_table(block) for block in blocks if block.kind != "service"]
    return "\n".join(["\n## Services\n", *services, "## Messages\n", *others])


def _source(name: str) -> str:
    return files("vlp_proto").joinpath("vlp", "v1", f"{name}.proto").read_text(encoding="utf-8")


def _blocks(source: str) -> Iterator[_Block]:
    block: _Block | None = None
    choice = ""
    comment: list[str] = []
    for line in map(str.strip, source.splitlines()):
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        text, comment = _paragraphs(comment), []
        if start := _BLOCK.fullmatch(line):
            block = _Block(start[1], start[2], text)
            if start[3]:
                yield block
                block = None
        elif block is None:
            continue
        elif line == "}":
            if not choice:
                yield block
                block = None
            choice = ""
        elif found := _ONEOF.fullmatch(line):
            choice = found[1]
        elif line:
            block.rows.append(_row(block, line, choice, text))


def _row(block: _Block, line: str, choice: str, text: str) -> tuple[str, ...]:
    if block.kind == "service" and (rpc := _RPC.fullmatch(line)):
        return rpc[1], _messages(rpc[2], rpc[3]), _messages(rpc[4], rpc[5]), text
    if block.kind == "enum" and (value := _VALUE.fullmatch(line)):
        return f"`{value[1]}`", value[2], text
    if block.kind == "message" and (one := _FIELD.fullmatch(line)):
        of = f"One of `{choice}`. " if choice else ""
        return f"`{one[2]}`", f"`{one[1]}`", one[3], (of + text).strip()
    raise ValueError(f"{block.name}: a line that is not understood: {line!r}")


def _messages(stream: str | None, name: str) -> str:
    return f"stream of {_link(name)}" if stream else _link(name)


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _paragraphs(lines: list[str]) -> str:
    return "\n\n".join(" ".join(part.split("\n")) for part in "\n".join(lines).split("\n\n"))


def _service(block: _Block) -> str:
    rows = [
        f"#### {block.name}.{name}\n\n{takes} -> {answers}\n\n{text}\n" for name, takes, answers, text in block.rows
    ]
    return "\n".join([f"### vlp.v1.{block.name}\n\n{block.text}\n", *rows])


def _table(block: _Block) -> str:
    head = f"### {block.name}\n\n{block.text}\n"
    if not block.rows:
        return head
    titles = ("value", "number", "what") if block.kind == "enum" else ("field", "type", "number", "what")
    lines = [titles, tuple("---" for _ in titles), *block.rows]
    return head + "\n" + "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
