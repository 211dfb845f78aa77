from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from vlp_client import (
    AsyncClient,
    CapacityError,
    Client,
    ConnectError,
    NewItem,
    RequestError,
    Retries,
    Timeouts,
    VlpClientError,
)
from vlp_client.calls import Call, Repeat
from vlp_client.errors import ServerError
from vlp_client.retries import Attempts

GOOD = {"model": "m@1", "answers": [{"answer": "red", "score": 1}]}
AT_ONCE = Retries(first_wait_s=0.0)


def refusal(status: int, kind: str, **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"kind": kind, "detail": "no", **more})


class Door:
    """Answers a script, one entry a request; an exception is raised in the place of an answer."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._script = list(script)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        told = self._script.pop(0) if self._script else httpx.Response(200, json=GOOD)
        if isinstance(told, Exception):
            raise told
        return told

    def client(self, retries: Retries | None = AT_ONCE, **options: Any) -> Client:
        return Client("http://server", transport=httpx.MockTransport(self), retries=retries, **options)


@pytest.mark.parametrize(
    "told",
    [
        refusal(429, "overloaded"),
        refusal(503, "unavailable"),
        httpx.Response(503, text="<html>"),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ReadError("reset"),
    ],
    ids=repr,
)
def test_what_may_go_well_later_is_sent_again(told: httpx.Response | Exception) -> None:
    door = Door(told)
    assert door.client().vqa(b"x", "what?").best == "red"
    assert len(door.requests) == 2


@pytest.mark.parametrize(
    "told",
    [
        refusal(400, "invalid_argument"),
        refusal(500, "inference_failed"),
        refusal(504, "deadline_exceeded", retry_after_s=0),
        refusal(507, "storage_full", retry_after_s=0),
        httpx.ReadTimeout("late"),
    ],
    ids=repr,
)
def test_what_would_fail_again_is_not(told: httpx.Response | Exception) -> None:
    door = Door(told)
    with pytest.raises(VlpClientError, match="no"):
        door.client().vqa(b"x", "what?")
    assert len(door.requests) == 1


def test_without_a_policy_nothing_is_sent_again() -> None:
    door = Door(httpx.ConnectError("refused"))
    with pytest.raises(ConnectError):
        door.client(retries=None).vqa(b"x", "what?")
    assert len(door.requests) == 1


def test_tries_are_bounded() -> None:
    door = Door(*[refusal(429, "overloaded") for _ in range(9)])
    with pytest.raises(CapacityError):
        door.client(Retries(attempts=3, first_wait_s=0.0)).vqa(b"x", "what?")
    assert len(door.requests) == 3
    broken = Door(*[httpx.ConnectError("refused") for _ in range(9)])
    with pytest.raises(ConnectError):
        broken.client(Retries(attempts=9, broken_attempts=2, first_wait_s=0.0)).vqa(b"x", "what?")
    assert len(broken.requests) == 2


def test_a_deadline_and_a_total_end_the_tries() -> None:
    late = [refusal(429, "overloaded", retry_after_s=2) for _ in range(2)]
    for call in (
        lambda: Door(*late).client().vqa(b"x", "what?", deadline_s=1.0),
        lambda: Door(*late).client(timeout_s=Timeouts(total_s=1.0)).vqa(b"x", "what?"),
    ):
        with pytest.raises(CapacityError):
            call()


def test_a_second_try_has_what_the_first_left_of_the_deadline() -> None:
    door = Door(refusal(429, "overloaded", retry_after_s=0.05))
    door.client().vqa(b"x", "what?", deadline_s=10.0)
    first, second = (int(request.headers["x-request-timeout-ms"]) for request in door.requests)
    assert first <= 10_000
    assert second <= first - 50


def test_a_write_goes_again_with_the_same_key() -> None:
    added = {"model": "m@1", "encoder": "e", "results": [{"id": "a", "status": "created"}]}
    door = Door(httpx.ReadError("reset"), httpx.Response(200, json=added))
    assert door.client().collection("pets").add([NewItem(vector=[1.0])]).results[0].id == "a"
    first, second = (request.headers["idempotency-key"] for request in door.requests)
    assert first == second
    other = Door(httpx.Response(200, json=added))
    other.client().collection("pets").add([NewItem(vector=[1.0])], idempotency_key="mine")
    assert other.requests[0].headers["idempotency-key"] == "mine" != first


def test_what_would_do_something_else_the_second_time_goes_again_only_if_it_did_not_arrive() -> None:
    versions = httpx.Response(200, json={"models": []})
    for told in (httpx.ReadError("reset"), refusal(503, "unavailable")):
        door = Door(told, versions)
        with pytest.raises((ConnectError, CapacityError)):
            door.client().admin.rollback("m")
        assert len(door.requests) == 1
    door = Door(httpx.ConnectError("refused"), versions)
    assert door.client().admin.rollback("m") == ()


def test_a_deletion_whose_answer_was_lost_is_done() -> None:
    gone = refusal(404, "item_not_found")
    Door(httpx.ReadError("reset"), gone).client().collection("pets").delete("a")
    with pytest.raises(RequestError):
        Door(gone).client().collection("pets").delete("a")
    with pytest.raises(RequestError):
        Door(httpx.ConnectError("refused"), gone).client().collection("pets").delete("a")


async def test_the_other_twin_sends_again_alike() -> None:
    door = Door(refusal(429, "overloaded"), httpx.ConnectError("refused"))
    async with AsyncClient("http://server", transport=httpx.MockTransport(door), retries=AT_ONCE) as client:
        assert (await client.vqa(b"x", "what?")).best == "red"
    assert len(door.requests) == 3


def waits(policy: Retries, errors: list[Exception], chance: float, **call: Any) -> list[float | None]:
    attempts = Attempts(policy, Call(verb="vqa", read=json.dumps, **call), chance=lambda: chance)
    return [attempts.wait_after(error) for error in errors]  # type: ignore[arg-type]


def full(retry_after_s: float | None = None) -> ServerError:
    return CapacityError("full", kind="overloaded", status=429, retry_after_s=retry_after_s)


def test_waits_double_up_to_a_bound_and_chance_takes_up_to_a_half() -> None:
    policy = Retries(attempts=9, first_wait_s=1.0, longest_wait_s=3.0)
    assert waits(policy, [full()] * 4, 0.0) == [1.0, 2.0, 3.0, 3.0]
    assert waits(policy, [full()] * 4, 1.0) == [0.5, 1.0, 1.5, 1.5]


def test_retry_after_is_honoured_and_spread() -> None:
    policy = Retries(attempts=9, first_wait_s=1.0)
    assert waits(policy, [full(7.0)], 0.0) == [7.0]
    assert waits(policy, [full(7.0)], 1.0) == [pytest.approx(7.7)]
    assert waits(policy, [full(0.1)], 0.0) == [1.0]


def test_all_waits_together_are_bounded_and_those_of_bulk_runs_by_another_bound() -> None:
    policy = Retries(attempts=9, patience_s=10.0, bulk_patience_s=100.0)
    assert waits(policy, [full(6.0)] * 2, 0.0) == [6.0, None]
    assert waits(policy.for_bulk(), [full(6.0)] * 20, 0.0)[15:17] == [6.0, None]
    assert waits(policy.for_bulk(), [ConnectError("gone")] * 4, 0.0)[-1] is None


@pytest.mark.parametrize(
    ("repeat", "sent", "answered", "again"),
    [
        (Repeat.SAFE, True, False, True),
        (Repeat.SAFE, True, True, False),
        (Repeat.KEYED, True, False, True),
        (Repeat.NEVER, True, False, False),
        (Repeat.NEVER, False, False, True),
    ],
)
def test_what_a_broken_connection_allows(repeat: Repeat, sent: bool, answered: bool, again: bool) -> None:
    error = ConnectError("broke", sent=sent, answered=answered)
    (wait_s,) = waits(Retries(), [error], 0.0, repeat=repeat)
    assert (wait_s is not None) is again


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_wait_s": -1.0}, {"broken_attempts": 0}])
def test_a_policy_that_cannot_be(wrong: dict[str, Any]) -> None:
    build: Callable[..., Retries] = Retries
    with pytest.raises(ValueError, match="expected at least one attempt"):
        build(**wrong)
