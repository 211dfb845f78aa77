"""The examples in the docstrings of both twins, run against a real server of dummy models, over both transports."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import types
from collections.abc import Iterator
from typing import Any

import pictures_made as pictures
import pytest
import vlp_client
from server_process import ServerProcess
from vlp_client import AsyncClient, AsyncCollection, AsyncModelAdmin, Client, Collection, ModelAdmin

MODELS = (
    "dummy",
    "dummy-encoder",
    "dummy-matcher",
    "dummy-captioner",
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-extractor",
    "dummy-reader",
)
PHOTOS = {"photo": pictures.jpeg(), "other_photo": pictures.png()}
OWNERS = {Client: (Client, Collection, ModelAdmin), AsyncClient: (AsyncClient, AsyncCollection, AsyncModelAdmin)}
# Verbs that need no example: they close, or are told by the example of another one.
TOLD_ELSEWHERE = {"admin", "collection", "collections", "close", "index_many", "drop", "info"} | {
    "lookup", "get", "image", "delete", "load", "switch", "rollback", "unload",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder, *MODELS, "--set", "http.admin=true") as server:
        yield server


def documented(owner: type) -> dict[str, list[doctest.Example]]:
    """The examples of each public verb."""
    members = {name: inspect.getattr_static(owner, name) for name in dir(owner) if not name.startswith("_")}
    parse = doctest.DocTestParser().get_examples
    return {name: parse(inspect.getdoc(one) or "") for name, one in members.items() if callable(one)}


async def outcome(example: doctest.Example, names: dict[str, Any]) -> str:
    """What a prompt that knows `await` prints after an example."""
    code = compile(example.source, "<example>", "single", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        waiting = types.FunctionType(code, names)()
        if inspect.iscoroutine(waiting):
            await waiting
    return printed.getvalue()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_examples_of_every_verb_do_as_they_say(server: ServerProcess, kind: Any, scheme: str) -> None:
    async def run() -> int:
        client, count = kind(server.grpc_url if scheme == "grpc" else server.url), 0
        for owner in OWNERS[kind]:
            for verb, examples in documented(owner).items():
                names = {"client": client, **PHOTOS}
                for example in examples:
                    assert await outcome(example, names) == example.want, f"{owner.__name__}.{verb}: {example.source}"
                    count += 1
        closing = client.aclose() if kind is AsyncClient else client.close()
        if inspect.isawaitable(closing):
            await closing
        return count

    assert asyncio.run(run()) > 40


def test_every_verb_has_an_example() -> None:
    for owner in OWNERS[Client]:
        missing = {verb for verb, examples in documented(owner).items() if not examples}
        assert missing <= TOLD_ELSEWHERE, owner


def test_the_examples_are_of_names_that_everybody_can_import() -> None:
    examples = [
        one for owners in OWNERS.values() for owner in owners for ones in documented(owner).values() for one in ones
    ]
    sources = [one.source for one in examples]
    imported = {name for source in sources if source.startswith("from") for name in source.split("import ")[1].split()}
    assert imported
    assert imported <= set(vlp_client.__all__)
