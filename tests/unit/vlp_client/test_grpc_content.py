"""What a gRPC message can hold, and when its channel is opened."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from vlp_client import AsyncClient, Client, ConnectError, NewItem, VlpClientError
from vlp_client.grpc_wire.content import struct_message, struct_value

NOWHERE = "grpc://127.0.0.1:9"


@pytest.mark.parametrize("number", [0, -1, 2**53, 2**60, -(2**53), 1.5, True])
def test_numbers_arrive_as_they_were(number: float) -> None:
    assert struct_value(struct_message({"n": [{"deep": number}]})) == {"n": [{"deep": number}]}


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 10**400, float("nan"), float("inf")])
def test_numbers_that_would_arrive_as_others_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        struct_message({"n": [{"deep": number}]})


@pytest.mark.parametrize("value", [{"a": object()}, {"a": {1, 2}}])
def test_what_json_cannot_hold_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        struct_message(value)


def test_a_number_that_cannot_be_sent_fails_by_itself() -> None:
    items = [NewItem(image=b"a", id=str(n), metadata={"n": n}) for n in (1, 10**400, 2)]
    with Client(NOWHERE, retries=None) as client:
        errors = [result.error for result in client.index_many("pets", items, again=True)]
    assert [type(error) for error in errors] == [ConnectError, ValueError, ConnectError]


def test_a_client_may_be_made_before_its_loop_and_in_any_thread() -> None:
    client, errors = AsyncClient(NOWHERE, retries=None), list[BaseException]()

    def use() -> None:
        async def ask() -> None:
            try:
                await client.models()
            except VlpClientError as error:
                errors.append(error)
            await client.aclose()

        asyncio.run(ask())

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [ConnectError]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", NOWHERE])
async def test_a_closed_client_says_so(url: str) -> None:
    client, other = Client(url), AsyncClient(url)
    for _ in range(2):
        client.close()
        await other.aclose()
    with pytest.raises(VlpClientError, match="this client is closed"):
        client.models()
    with pytest.raises(VlpClientError, match="this client is closed"):
        await other.models()
    for result in client.embed_many(["a"]):
        assert isinstance(result.error, VlpClientError)
