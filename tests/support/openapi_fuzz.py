"""Requests that an OpenAPI description allows, or forbids, sent to a real server by schemathesis.

What it makes up would mostly be refused at the first field: its pictures are no pictures, its collections are not
there. So some of each request is made good, by chance, that the rest of it is read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pictures_made
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, BaseSchema, Case, GenerationMode, Response
from schemathesis.checks import CHECKS, CheckContext, load_all_checks
from server_process import ServerProcess

PICTURE = pictures_made.jpeg()
DATA_URI = f"data:image/jpeg;base64,{base64.b64encode(PICTURE).decode()}"
WHAT = {"type": "text", "text": "what?"}
DEADLINE = "X-Request-Timeout-Ms"
KNOWN = {"name": "pets", "item_id": "one", "model": "dummy", "model_name": "dummy"}
# What every request of an operation needs, though a description shows it as one of two.
NEEDED: Mapping[str, Mapping[str, Any]] = {
    "/v1/vqa": {"question": "what?", "image": DATA_URI},
    "/v1/classify": {"labels": ["a", "b"], "image": DATA_URI},
    "/v1/match": {"texts": ["a", "b"], "image": DATA_URI},
    "/v1/entailment": {"hypothesis": "a", "image": DATA_URI},
    "/v1/reasoning": {"statement": "a", "images": [DATA_URI, DATA_URI]},
    "/v1/grounding": {"phrase": "a", "image": DATA_URI},
    "/v1/embeddings": {"input": ["a", {"image": DATA_URI}]},
    "/v1/collections/{name}/search": {"text": "a"},
    "/v1/collections/{name}/items": {"items": [{"id": "two", "image": DATA_URI}]},
    "/v1/chat/completions": {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URI}}, WHAT]},
        ]
    },
}
TWINS = (
    ("question", "questions"),
    ("hypothesis", "hypotheses"),
    ("statement", "statements"),
    ("phrase", "phrases"),
    ("label", "labels"),
    ("text", "texts"),
    ("text", "vector", "image", "regions", "images"),
)
_KEY_HEADERS = ("Authorization", "X-Api-Key")
# A description cannot say all that is refused; and of faults of the server there is a stricter check below.
_LEFT_OUT = ("positive_data_acceptance", "negative_data_rejection", "not_a_server_error")
Coin = Callable[[], bool]


class FuzzedServer:
    """A running server, its own description, and the things that requests may name.

    Args:
        server: with a dummy of every kind.
        key: of an admin.
    """

    def __init__(self, server: ServerProcess, key: str) -> None:
        self._url = server.url
        self._key = {"Authorization": f"Bearer {key}"}
        self._session = requests.Session()
        self._session.trust_env = False
        load_all_checks()
        description = self._session.get(f"{server.url}/openapi.json", timeout=10).json()
        self._schema: BaseSchema = schemathesis.openapi.from_dict(description)
        self._schema.config.update(base_url=server.url)
        self._left_out = [CHECKS.get_one(name) for name in _LEFT_OUT]

    def furnish(self) -> None:
        """Put everything there that `KNOWN` names; whoever came before may have removed it."""
        place = f"{self._url}/v1/collections/{KNOWN['name']}"
        for done in (
            self._session.put(place, json={}, headers=self._key, timeout=10),
            self._session.post(
                f"{place}/items",
                files={"image": PICTURE},
                data={"id": KNOWN["item_id"]},
                headers=self._key,
                timeout=10,
            ),
        ):
            assert done.status_code == 200, done.text

    def fuzz(self, method: str, path: str, mode: GenerationMode, cases: int) -> int:
        """Send requests to one operation; says how many.

        Raises:
            AssertionError, FailureGroup: an answer is not as described, or a fault of the server.
        """
        operation: APIOperation = self._schema[path][method]
        sent = 0

        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def send(case: Case, data: st.DataObject) -> None:
            nonlocal sent
            improve(case, lambda: data.draw(st.integers(0, 3)) > 0)
            answer = case.call(session=self._session, headers=self._key, timeout=30)
            sent += 1
            case.validate_response(
                answer, additional_checks=[no_fault_of_the_server], excluded_checks=self._left_out, headers=self._key
            )

        try:
            send()
        except Unsatisfiable:
            # Nothing can be wrong with a request that holds nothing.
            assert mode is GenerationMode.NEGATIVE
            assert not sent
        return sent


def no_fault_of_the_server(context: CheckContext, response: Response, case: Case) -> None:
    """No 5xx but a 503 that says when to come again, and a 504 where the caller itself named the time."""
    if response.status_code == 503:
        assert "retry-after" in response.headers, "503 without Retry-After"
    elif response.status_code == 504:
        assert response.request.headers.get(DEADLINE), "504, and no deadline of the caller's"
    else:
        assert response.status_code < 500, f"{response.status_code}: {response.text[:300]}"


def improve(case: Case, coin: Coin) -> None:
    """Make some of a request good."""
    headers = {} if case.headers is None else case.headers
    for name in _KEY_HEADERS:  # two different keys are none
        headers.pop(name, None)
    if DEADLINE in headers and coin():
        del headers[DEADLINE]
    for name, known in KNOWN.items():
        if name in (case.path_parameters or {}) and coin():
            case.path_parameters[name] = known
    if not (case.media_type or "image/").startswith("image/") and coin():
        case.query = {}  # of a raw picture alone
    if isinstance(case.body, bytes) and coin():
        case.body = PICTURE
    elif isinstance(case.body, dict):
        if "model" in case.body and coin():
            del case.body["model"]
        case.body = _with_pictures(case.body, coin)
    if coin():
        _give_what_is_needed(case, NEEDED.get(case.operation.path, {}))


def _give_what_is_needed(case: Case, needed: Mapping[str, Any]) -> None:
    """Put in what the operation cannot do without, in place of its other forms."""
    if case.media_type == "application/json" and isinstance(case.body, dict):
        fields, given = case.body, dict(needed)
    else:  # where all is text, and pictures are bytes
        fields = case.body if isinstance(case.body, dict) else case.query
        given = {name: json.dumps(value) if isinstance(value, list) else value for name, value in needed.items()}
        if "image" in given:
            given["image"] = PICTURE
        if "images" in given:
            del given["images"]
            given["image"] = [PICTURE, PICTURE]
        if fields is case.query:
            given.pop("image", None)
    for twins in TWINS:
        if set(twins) & set(given):
            for twin in twins:
                fields.pop(twin, None)
    fields.update(given)


def _with_pictures(value: Any, coin: Coin) -> Any:
    """The same JSON or form, with pictures where they are meant to be."""
    if isinstance(value, list):
        return [_with_pictures(item, coin) for item in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for name, item in value.items():
        if name in ("image", "url", "images") and coin():
            made[name] = [_picture_for(one) for one in item] if isinstance(item, list) else _picture_for(item)
        else:
            made[name] = _with_pictures(item, coin)
    return made


def _picture_for(value: Any) -> Any:
    """In a form a picture is bytes, in JSON a text."""
    if isinstance(value, str):
        return DATA_URI
    return PICTURE if isinstance(value, bytes) else value
