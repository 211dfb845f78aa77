"""The SDK knows no code of the server; here its table of kinds meets the door's."""

from __future__ import annotations

import httpx
import pytest
from vlp_client import AuthenticationError, CapacityError, Client, PermissionDeniedError, RequestError, ServerError
from vlp_server.http.problems import STATUS, DoorKind, Problem
from vlp_spec import errors
from vlp_spec.errors import ErrorKind

CAPACITY = {
    ErrorKind.OVERLOADED,
    ErrorKind.RATE_LIMITED,
    ErrorKind.UNAVAILABLE,
    ErrorKind.DEADLINE_EXCEEDED,
    ErrorKind.STORAGE_FULL,
    DoorKind.REQUEST_TIMEOUT,
}
# Those that a caller may want to tell from other faults of a call.
NAMED: dict[ErrorKind | DoorKind, type[ServerError]] = {
    ErrorKind.UNAUTHENTICATED: AuthenticationError,
    ErrorKind.PERMISSION_DENIED: PermissionDeniedError,
}
# A cancelled call has nobody who reads its answer.
OURS = {kind for kind, status in STATUS.items() if status == 500} | {ErrorKind.CANCELLED}


def expected_class(kind: ErrorKind | DoorKind) -> type[ServerError]:
    if kind in OURS:
        return ServerError
    return CapacityError if kind in CAPACITY else NAMED.get(kind, RequestError)


@pytest.mark.parametrize("kind", list(STATUS), ids=str)
def test_every_kind_of_the_door_is_rebuilt(kind: ErrorKind | DoorKind) -> None:
    problem = Problem(kind, "why", field="image", retry_after_s=1.5)

    def answer(request: httpx.Request) -> httpx.Response:
        response = problem.response("r1")
        return httpx.Response(response.status_code, headers=dict(response.headers), content=bytes(response.body))

    with (
        Client("http://server", transport=httpx.MockTransport(answer), retries=None) as client,
        pytest.raises(ServerError) as caught,
    ):
        client.vqa(b"picture", "what?")
    error = caught.value
    assert type(error) is expected_class(kind)
    assert (error.kind, error.status, str(error)) == (kind, STATUS[kind], "why")
    assert (error.field, error.retry_after_s, error.request_id) == ("image", 1.5, "r1")


def test_what_is_capacity_here_is_capacity_there() -> None:
    capacity_errors = {child.kind for child in errors.CapacityError.__subclasses__()}
    assert capacity_errors == CAPACITY - {DoorKind.REQUEST_TIMEOUT}
