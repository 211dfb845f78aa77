"""Bulk runs into a collection, against a server of a few lines."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlp_client import (
    CapacityError,
    Client,
    JournalError,
    NewItem,
    ProtocolError,
    Retries,
    Timeouts,
)
from vlp_client.address import read_address
from vlp_client.sync.bulk_index import IndexPlan
from vlp_client.sync.http_transport import HttpTransport
from vlp_client.sync.pool import Pool
from vlp_client.sync.sending import Sender

AT_ONCE = Retries(first_wait_s=0.0)


class Store:
    """A collection of a few lines."""

    def __init__(self) -> None:
        self.items: dict[str, str | None] = {}
        self.sent: list[str] = []
        self.full = 0
        self.most_items = 1024
        self.added: list[int] = []
        self.metadata: dict[str, Any] = {}
        self.lost = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [], "request_limits": {"items": self.most_items}})
        body = json.loads(request.content)
        if request.url.path.endswith("lookup"):
            return httpx.Response(
                200, json={"known": {one: self.items[one] for one in body["ids"] if one in self.items}}
            )
        results: list[dict[str, Any]] = []
        seen: set[str] = set()
        self.added.append(len(body["items"]))
        for item in body["items"]:
            if self.full:
                self.full -= 1
                error = {"kind": "overloaded", "detail": "full", "retry_after_s": 0}
                results.append({"id": item["id"], "status": "failed", "error": error})
                continue
            if item["id"] in seen:
                results.append(
                    {"id": item["id"], "status": "failed", "error": {"kind": "invalid_argument", "detail": "twice"}}
                )
                continue
            seen.add(item["id"])
            self.sent.append(item["id"])
            self.metadata[item["id"]] = item["metadata"]
            content = base64.b64decode(item["image"]) if "image" in item else None
            self.items[item["id"]] = None if content is None else hashlib.sha256(content).hexdigest()
            results.append({"id": item["id"], "status": "created"})
        results = results[self.lost :]
        return httpx.Response(200, json={"model": "m@1", "encoder": "e", "results": results})

    def client(self, retries: Retries | None = AT_ONCE, url: str = "http://server") -> Client:
        return Client(url, transport=httpx.MockTransport(self), retries=retries)


def test_items_without_an_id_get_one_of_their_content() -> None:
    store = Store()
    items = [NewItem(image=b"a"), NewItem(image=b"b"), NewItem(vector=[1.0]), NewItem(id="mine", image=b"a"), NewItem()]
    first = list(store.client().index_many("pets", items))
    assert [result.ok for result in first] == [True] * 4 + [False]
    again = list(store.client().collection("pets").index_many(items))
    # A vector tells the server nothing that a lookup could compare; under its own id it is replaced by itself.
    assert [result.unwrap().status for result in again[:4]] == ["present", "present", "created", "present"]
    assert [result.unwrap().id for result in first[:4]] == [result.unwrap().id for result in again[:4]]
    assert len(store.items) == 4


def test_no_more_items_are_added_in_a_call_than_the_server_takes() -> None:
    store = Store()
    store.most_items = 4
    items = [NewItem(id=str(number), image=b"%d" % number) for number in range(10)]
    assert all(result.ok for result in store.client().index_many("pets", items))
    assert sorted(store.added) == [2, 4, 4]


def test_what_a_journal_has_and_the_server_has_no_longer_is_sent_again(tmp_path: Path) -> None:
    store = Store()
    items = [NewItem(id=str(number), image=b"%d" % number) for number in range(9)]
    items += [NewItem(id="v", vector=[1.0])]
    for statuses in ({"created"}, {"present"}):
        run = store.client().index_many("pets", items, journal=tmp_path / "j")
        assert {result.unwrap().status for result in run} == statuses
    assert len(store.sent) == 10
    kept = (tmp_path / "j").read_bytes()
    del store.items["3"], store.items["v"]
    again = list(store.client().index_many("pets", items, journal=tmp_path / "j"))
    assert [result.index for result in again if not result.known] == [3, 9]
    assert len(store.items) == 10
    assert (tmp_path / "j").read_bytes() == kept


def test_a_journal_of_an_index_run_is_of_one_server_and_one_wish(tmp_path: Path) -> None:
    store, items = Store(), [NewItem(id="a", image=b"a")]
    assert len(list(store.client().index_many("pets", items, journal=tmp_path / "j"))) == 1
    assert next(store.client(url="HTTP://server/").index_many("pets", items, journal=tmp_path / "j")).known
    with pytest.raises(JournalError, match="of other work"):
        list(store.client(url="http://other").index_many("pets", items, journal=tmp_path / "j"))
    with pytest.raises(JournalError, match="of other work"):
        list(store.client().index_many("pets", items, again=True, journal=tmp_path / "j"))
    for known in (False, True):  # a run that sends again is gone on with, too
        run = store.client().index_many("pets", items, again=True, journal=tmp_path / "again")
        assert [result.known for result in run] == [known]
    assert store.sent == ["a", "a"]


@pytest.mark.parametrize("batch", [1, 32])
def test_the_same_picture_twice_is_one_item(batch: int) -> None:
    store = Store()
    items = [NewItem(image=b"a", metadata={"n": 1}), NewItem(image=b"b"), NewItem(image=b"a", metadata={"n": 2})]
    results = list(store.client().index_many("pets", [*items, items[0]], batch=batch, parallel=1))
    assert [result.unwrap().status for result in results] == ["created", "created", "present", "present"]
    assert len({result.unwrap().id for result in results}) == len(store.items) == 2
    assert store.metadata[results[0].unwrap().id] == {"n": 1}
    assert len(store.sent) == 2


def test_an_id_twice_in_a_call_is_replaced_in_the_order_of_the_items() -> None:
    store = Store()
    items = [NewItem(id="a", image=b"%d" % n, metadata={"n": n}) for n in range(40)]
    assert all(result.ok for result in store.client().index_many("pets", items, batch=40))
    assert store.metadata["a"] == {"n": 39}
    same = [NewItem(id="a", image=b"x", metadata={"n": n}) for n in range(2)]
    assert all(result.ok for result in store.client().index_many("pets", same, again=True))
    assert store.metadata["a"] == {"n": 1}


def test_what_is_refused_once_is_refused_to_the_same_item_again() -> None:
    store = Store()
    store.full = 1
    results = list(store.client(None).index_many("pets", [NewItem(image=b"a")] * 3))
    assert [type(result.error) for result in results] == [CapacityError] * 3


def test_results_that_are_too_few_are_of_no_server_of_this_api() -> None:
    store = Store()
    store.lost = 1
    results = list(store.client().index_many("pets", [NewItem(image=b"a"), NewItem(image=b"b")]))
    assert [type(result.error) for result in results] == [ProtocolError] * 2
    assert store.added == [2]


def test_a_collection_has_its_own_model() -> None:
    with pytest.raises(ValueError, match="has its own model"):
        Store().client().index_many("pets", [], model="m")


def test_a_full_server_is_waited_for_as_long_as_it_asks() -> None:
    told, slept = [5.0, 7.0], list[float]()

    def answer(request: httpx.Request) -> httpx.Response:
        results: list[Any] = [{"id": one["id"], "status": "created"} for one in json.loads(request.content)["items"]]
        if told:
            error = {"kind": "rate_limited", "detail": "slow", "retry_after_s": told.pop(0)}
            results[0] = {"id": results[0]["id"], "status": "failed", "error": error}
        return httpx.Response(200, json={"model": "m@1", "encoder": "e", "results": results})

    class Waits(Pool[Any]):
        def sleep(self, wait_s: float) -> None:
            slept.append(wait_s)

    plan = IndexPlan("http://server", "pets", True, None)
    items = [plan.prepare(NewItem(id=name, image=b"x")) for name in "ab"]
    for patience_s, expected, waits in ((60.0, [True, True], [5.0, 7.0]), (6.0, [False, True], [5.0])):
        told[:] = [5.0, 7.0]
        slept.clear()
        transport = HttpTransport(
            read_address("http://server"), api_key=None, tls=None, connections=1, transport=httpx.MockTransport(answer)
        )
        sender = Sender(transport, Timeouts(), Retries(patience_s=patience_s))
        outcomes = plan.send(sender, Waits(1), items)
        assert [outcome.error is None for outcome in outcomes] == expected
        for waited, least in zip(slept, waits, strict=True):
            assert least <= waited <= 1.1 * least


def test_an_item_that_cannot_be_encoded_costs_no_other() -> None:
    store = Store()
    items: list[Any] = [
        NewItem(id="a", image=b"a"),
        NewItem(id="b", image=b"b", metadata={"n": float("nan")}),
        NewItem(id="\ud800", image=b"c"),
        NewItem(id="d", image=b"d"),
    ]
    assert [result.ok for result in store.client().index_many("pets", items)] == [True, False, False, True]


def test_an_item_that_a_full_server_refused_is_sent_again_or_fails_by_itself() -> None:
    store = Store()
    store.full = 3
    items = [NewItem(id=str(number), image=b"%d" % number) for number in range(6)]
    assert all(result.ok for result in store.client().index_many("pets", items))
    assert len(store.sent) == 6
    store.full = 2
    refused = list(store.client(None).index_many("pets", items, again=True))
    assert [type(result.error) for result in refused[:3]] == [CapacityError, CapacityError, type(None)]
