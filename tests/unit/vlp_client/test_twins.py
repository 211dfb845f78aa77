"""The blocking client and the asynchronous one are twins: made from one text, with the same verbs, signatures, docs."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import vlp_client
from vlp_client.aio import grpc_calls as aio_grpc_calls
from vlp_client.aio import pool as aio_pool
from vlp_client.sync import grpc_calls as sync_grpc_calls
from vlp_client.sync import pool as sync_pool

SCRIPT = Path(__file__).parents[3] / "clients" / "python" / "write_sync_client.py"
PAIRS = [
    (vlp_client.AsyncClient, vlp_client.Client),
    (vlp_client.AsyncCollection, vlp_client.Collection),
    (vlp_client.AsyncModelAdmin, vlp_client.ModelAdmin),
    (vlp_client.AsyncCaptionStream, vlp_client.CaptionStream),
]
BY_HAND = [(aio_pool.AsyncPool, sync_pool.Pool)]
# What the two languages of Python call the same thing by.
NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__"}
NAMES["__anext__"] = "__next__"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_sync_client", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verbs(owner: type) -> dict[str, Any]:
    """Every public attribute, by the blocking twin's name."""
    names = [name for name in dir(owner) if not name.startswith("_") or name in {*NAMES, *NAMES.values()}]
    return {NAMES.get(name, name): inspect.getattr_static(owner, name) for name in names}


def function_of(member: Any) -> Any:
    return member.fget if isinstance(member, property) else member


def blocking(text: str) -> str:
    """A signature or a docstring of the asynchronous twin in the words of the other."""
    for word, other in (
        ("Async", ""),
        ("vlp_client.aio", "vlp_client.sync"),
        ("await ", ""),
        ("aclose", "close"),
        ("async ", ""),
    ):
        text = text.replace(word, other)
    return text.replace("for many tasks of one event loop at once", "usable from several threads")


def test_the_blocking_twin_is_current(script: ModuleType) -> None:
    made = script.twins()
    assert len(made) > 10
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is not current: run {SCRIPT.name}"
    folder = next(iter(made)).parent
    assert {path.name for path in folder.glob("*.py")} == {path.name for path in made} | set(script.WRITTEN_BY_HAND)


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS + BY_HAND, ids=lambda owner: owner.__name__)
def test_both_twins_have_the_same_verbs(asynchronous: type, synchronous: type) -> None:
    ours, theirs = verbs(asynchronous), verbs(synchronous)
    assert ours.keys() == theirs.keys()
    for name, member in ours.items():
        other = theirs[name]
        assert type(member) is type(other), name
        ours_signature = str(inspect.signature(function_of(member)))
        assert blocking(ours_signature).replace("Awaitable[T]", "T") == str(inspect.signature(function_of(other))), name


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS, ids=lambda owner: owner.__name__)
def test_both_twins_say_the_same_of_themselves(asynchronous: type, synchronous: type) -> None:
    others = verbs(synchronous)
    for name, member in verbs(asynchronous).items():
        ours, theirs = inspect.getdoc(function_of(member)), inspect.getdoc(function_of(others[name]))
        assert ours is not None
        assert theirs is not None
        assert blocking(ours).split() == theirs.split()


def test_everything_that_waits_is_awaited_in_one_twin_alone() -> None:
    for owner, _ in PAIRS:
        told = {name: inspect.iscoroutinefunction(function_of(member)) for name, member in verbs(owner).items()}
        blocking_ones = {name for name, waits in told.items() if not waits}
        assert blocking_ones <= {
            "admin", "answer", "collection", "embed_many", "index_many", "vqa_many", "__iter__",
        }  # fmt: skip
    for _, owner in PAIRS:
        assert not any(inspect.iscoroutinefunction(function_of(member)) for member in verbs(owner).values())


def test_the_calls_of_grpc_are_written_twice_alike() -> None:
    def functions(module: ModuleType) -> dict[str, Any]:
        found = inspect.getmembers(module, inspect.isfunction)
        return {name: one for name, one in found if one.__module__ == module.__name__ and not name.startswith("_")}

    ours, theirs = functions(aio_grpc_calls), functions(sync_grpc_calls)
    assert ours.keys() == theirs.keys()
    for name, function in ours.items():
        assert inspect.signature(function) == inspect.signature(theirs[name])
        assert inspect.getdoc(function) == inspect.getdoc(theirs[name])


def test_without_the_extra_grpc_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("vlp_client.") and "grpc" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    for client in (vlp_client.Client, vlp_client.AsyncClient):
        with pytest.raises(ImportError, match=r"pip install 'vlpserve-client\[grpc\]'"):
            client("grpc://127.0.0.1:8081")
