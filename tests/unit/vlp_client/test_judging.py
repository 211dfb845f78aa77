from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from vlp_client import Client, ProtocolError, Regions

LEFT, RIGHT = b"left picture", b"right picture"
REGIONS = Regions([[0, 0, 1, 1]], [[1.0, 2.0]])
VALUE = {"boxes": [[0.0, 0.0, 1.0, 1.0]], "features": "AACAPwAAAEA="}
ENTAILED = {"model": "m@1", "label": "neutral", "scores": {"neutral": 0.75, "entailment": 0.25}}
TRUE = {"model": "m@1", "label": True, "score": 0.75}
FOUND = {"model": "m@1", "boxes": [{"box": [0, 0.25, 0.5, 1], "score": 1}]}


class Door:
    """Answers always the same, and keeps the requests."""

    def __init__(self, body: Any) -> None:
        self.requests: list[httpx.Request] = []
        self._body = body

    def client(self) -> Client:
        return Client("http://server/", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        return httpx.Response(200, json=self._body, headers={"Server-Timing": "regions;dur=4.0, total;dur=5.0"})

    def sent_json(self) -> Any:
        return json.loads(self.requests[-1].content)


def test_a_file_goes_as_a_form() -> None:
    door = Door(ENTAILED)
    reply = door.client().entailment(LEFT, ["a", "b"], model="m", deadline_s=1.5)
    (request,) = door.requests
    assert (request.method, request.url.path) == ("POST", "/v1/entailment")
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert request.headers["x-request-timeout-ms"] == "1500"
    assert b'name="image"; filename="image"' in request.content
    assert b'name="hypotheses"\r\n\r\n["a", "b"]' in request.content
    assert b'name="model"\r\n\r\nm\r\n' in request.content
    assert reply.timings_ms == {"regions": 4.0, "total": 5.0}


def test_two_files_go_as_two_parts_left_first() -> None:
    door = Door(TRUE)
    door.client().reasoning((LEFT, RIGHT), "both")
    content = door.requests[0].content
    assert content.count(b'; name="image"') == 2
    assert content.index(LEFT) < content.index(RIGHT)
    assert b'name="statement"\r\n\r\nboth\r\n' in content


def test_a_url_in_a_pair_makes_it_json() -> None:
    door = Door(TRUE)
    door.client().reasoning(["https://example.org/a.jpg", RIGHT], ["both"])
    assert door.sent_json() == {
        "images": ["https://example.org/a.jpg", base64.b64encode(RIGHT).decode()],
        "statements": ["both"],
    }


def test_regions_go_as_a_file_or_as_json() -> None:
    door = Door(FOUND)
    client = door.client()
    client.grounding(None, "a", top_k=2, regions=b"bytes of a file")
    assert b'name="regions"; filename="regions.npz"\r\n' in door.requests[0].content
    assert b"bytes of a file" in door.requests[0].content
    client.grounding(None, "a", top_k=2, regions=REGIONS)
    assert door.sent_json() == {"regions": VALUE, "top_k": 2, "phrase": "a"}
    door = Door(TRUE)
    door.client().reasoning(None, "a", regions=(b"left", b"right"))
    assert door.requests[0].content.count(b'; name="regions"') == 2
    door.client().reasoning(None, "a", regions=(b"left", REGIONS))
    assert door.sent_json() == {"regions": ["bGVmdA==", VALUE], "statement": "a"}


CALLS: list[Callable[..., Any]] = [
    lambda client, image, **options: client.vqa(image, "a?", **options),
    lambda client, image, **options: client.match(image, ["a"], **options),
    lambda client, image, **options: client.entailment(image, "a", **options),
    lambda client, image, **options: client.grounding(image, "a", **options),
    lambda client, image, **options: client.reasoning(image, "a", **options),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_picture_or_regions_and_not_both(call: Callable[..., Any]) -> None:
    door = Door(ENTAILED)
    pair = call is CALLS[-1]
    image, regions = ((LEFT, RIGHT), (REGIONS, REGIONS)) if pair else (LEFT, REGIONS)
    with door.client() as client:
        with pytest.raises(TypeError, match="both are given"):
            call(client, image, regions=regions)
        with pytest.raises(TypeError, match="expected"):
            call(client, None)
    assert door.requests == []


@pytest.mark.parametrize("images", [[LEFT], [LEFT, RIGHT, LEFT], [], LEFT, "left.jpg"])
def test_a_pair_is_two(images: Any) -> None:
    with Door(TRUE).client() as client, pytest.raises(TypeError, match="a pair of one of them: left and right"):
        client.reasoning(images, "a")
    with Door(TRUE).client() as client, pytest.raises(TypeError, match="a pair of one of them: left and right"):
        client.reasoning(None, "a", regions=images)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"label": "a", "scores": {}, "boxes": []},
        {"model": "m", "label": "a", "scores": 3, "score": "x", "boxes": 3},
        {"model": "m", "results": [{}]},
        {"model": "m", "label": 1, "scores": None, "score": None, "boxes": [{"box": [0, 1], "score": 1}]},
        [],
    ],
)
def test_a_success_that_is_no_reply(body: Any) -> None:
    with Door(body).client() as client:
        for call in CALLS[2:4]:
            with pytest.raises(ProtocolError):
                call(client, LEFT)
        with pytest.raises(ProtocolError):
            client.reasoning((LEFT, RIGHT), "a")


def test_numbers_that_no_json_can_hold_are_refused_here() -> None:
    with Door(FOUND).client() as client, pytest.raises(ValueError, match="JSON"):
        client.grounding(None, "a", regions=Regions([[0, 0, 1, float("nan")]], [[1.0]]))
