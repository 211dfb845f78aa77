"""Chats at the door: what is asked of the service, what is refused, and the documents that come of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pictures_made
import pytest
from chat_bodies import data_uri, user
from dummy_door import open_dummies
from vlp_server.config import LimitsConfig, ServerConfig
from vlp_spec.errors import InferenceError, InvalidArgumentError, TaskNotSupportedError
from vlp_spec.tasks import CaptionQuery, CaptionResult, Decoding, ScoredCaption, Task, VqaQuery

PICTURE = b"picture"
PATH = "/v1/chat/completions"
ASKED = [user(PICTURE, "what?")]
SHOWN = [user(PICTURE)]


def chat(door: httpx.AsyncClient, messages: Any, **fields: Any) -> Any:
    return door.post(PATH, json={"messages": messages, **fields})


def chunks_of(text: str) -> list[Any]:
    """The documents of a stream, which must end as OpenAI's do."""
    *events, done, end = text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


@pytest.fixture
def captioner(scripted: Any) -> Any:
    scripted.tasks = (Task.CAPTION,)
    return scripted


async def test_a_question_is_asked_of_the_model(door: httpx.AsyncClient, scripted: Any) -> None:
    body = (await chat(door, ASKED, model="scripted")).json()
    assert scripted.calls == [
        {"image": PICTURE, "queries": [VqaQuery("what?", top_k=1)], "model": "scripted", "deadline": None}
    ]
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 1_700_000_000
    (_, answer) = body.pop("choices")  # the scripted service gives two, whatever is wanted
    assert answer == {
        "index": 1,
        "message": {"role": "assistant", "content": "blue", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert body == {
        "object": "chat.completion",
        "model": "scripted@1",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


async def test_a_bare_picture_is_described(door: httpx.AsyncClient, captioner: Any) -> None:
    body = (await chat(door, SHOWN, model="scripted", max_tokens=9)).json()
    assert [choice["message"]["content"] for choice in body["choices"]] == ["a red boat", "a boat"]
    assert captioner.calls[0]["queries"] == [CaptionQuery(decoding=Decoding(max_tokens=9))]


async def test_what_is_said_to_a_captioner_begins_its_text(door: httpx.AsyncClient, captioner: Any) -> None:
    await chat(door, [user(PICTURE, " a photo ", " ", "of")], model="scripted", temperature=0.5, top_p=0.9, seed=3)
    decoding = Decoding(temperature=0.5, top_p=0.9, seed=3)
    assert captioner.calls[0]["queries"] == [CaptionQuery("a photo \nof", 1, decoding)]


@pytest.mark.parametrize(
    ("fields", "decoding"),
    [
        ({"max_completion_tokens": 100_000}, Decoding(max_tokens=39)),  # as much as the model has room for
        ({"max_tokens": 7, "max_completion_tokens": 7}, Decoding(max_tokens=7)),
        ({"top_p": 0.5}, Decoding(temperature=1.0, top_p=0.5)),  # OpenAI's own temperature
        ({"top_p": 0.5, "temperature": 0}, Decoding()),
        ({"temperature": None, "n": None, "stop": None, "stream": None, "tools": None}, Decoding()),
    ],
)
async def test_numbers_mean_what_they_do_there(
    fields: dict[str, Any], decoding: Decoding, door: httpx.AsyncClient, captioner: Any
) -> None:
    response = await chat(door, SHOWN, model="scripted", **fields)
    assert response.status_code == 200, response.text
    assert captioner.calls[0]["queries"] == [CaptionQuery(decoding=decoding)]


async def test_the_picture_of_an_earlier_message_goes_on_being_asked_about(
    door: httpx.AsyncClient, scripted: Any
) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        user(b"older", "and this?"),
        {"role": "assistant", "content": "red"},
        user(PICTURE, "what?"),
        {"role": "assistant", "content": [{"type": "text", "text": "blue"}], "refusal": None},
        {"role": "user", "content": "and where?"},
    ]
    body = (await chat(door, messages)).json()
    assert scripted.calls[0]["image"] == PICTURE
    assert scripted.calls[0]["queries"] == [VqaQuery("and where?", top_k=1)]
    assert body["unread_messages"] == [0, 1, 2, 4]


NEUTRAL = {
    "frequency_penalty": 0.0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "store": False,
    "service_tier": "auto",
    "user": "me",
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "seed": 1,
    "temperature": 0.7,
}


async def test_what_asks_for_nothing_is_taken(door: httpx.AsyncClient) -> None:
    response = await chat(door, ASKED, **NEUTRAL)
    assert response.status_code == 200, response.text


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"frequency_penalty": False}, "frequency_penalty"),
    ({"logit_bias": {"1": 5}}, "logit_bias"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": 0}, "logprobs"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"audio": {}}, "audio"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"colour": "red"}, "colour"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"n": 3}, "n"),  # of two answers
    ({"temperature": 2.5}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"seed": -1}, "seed"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": "\ud800"}, "stop"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"what": 1}}, "stream_options"),
    ({"model": ""}, "model"),
]
BAD_MESSAGES: list[tuple[Any, str]] = [
    (None, "messages"),
    ([], "messages"),
    ("hello", "messages"),
    ([1], "messages[0]"),
    ([{"role": "owner", "content": "a"}], "messages[0].role"),
    ([{"role": "user"}], "messages[0].content"),
    ([{"role": "user", "content": 5}], "messages[0].content"),
    ([{"role": "user", "content": "no picture"}], "messages"),
    ([user(PICTURE, "a"), {"role": "assistant", "content": "b"}], "messages[1]"),
    ([{"role": "assistant", "content": [user(PICTURE)]}, user(None, "a")], "messages"),
    ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
    ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}], "messages[0].content[0].image_url"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages[0].content[0].image_url.url"),
    ([user("***", "a")], "messages[0].content[0].image_url.url"),
    ([user("https://example.org/a.jpg", "a")], "messages[0].content[0].image_url.url"),
    ([{"role": "user", "content": [*SHOWN[0]["content"] * 2]}], "messages[0].content"),
    ([user(PICTURE, "\ud800")], "messages[0].content"),
]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        *(({"messages": ASKED, **fields}, param) for fields, param in BAD_FIELDS),
        *(({"messages": messages}, param) for messages, param in BAD_MESSAGES),
        ({}, "messages"),
    ],
)
async def test_what_is_refused_is_named(body: dict[str, Any], param: str, door: httpx.AsyncClient) -> None:
    response = await door.post(PATH, content=json.dumps(body), headers={"Content-Type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_argument", param), error
    assert error["type"] == "invalid_request_error"
    assert param in error["message"].split(" ", 3)[0] or f"unknown field '{param}" in error["message"]


async def test_faults_of_the_task_name_the_place_in_the_messages(door: httpx.AsyncClient, scripted: Any) -> None:
    async def refuse() -> None:
        raise InvalidArgumentError("question: holds no readable character", field="question")

    scripted.behave = refuse
    error = (await chat(door, ASKED)).json()["error"]
    assert (error["param"], error["message"]) == (
        "messages[0].content",
        "messages[0].content: holds no readable character",
    )


@pytest.mark.parametrize("picture", ["data:text/plain;base64,eA==", "data:image/png;base64,"])
async def test_what_is_no_picture_has_its_own_status(picture: str, door: httpx.AsyncClient) -> None:
    assert (await chat(door, [user(picture, "a")])).status_code in (415, 422)


async def test_a_long_question_is_too_large(door_with: Callable[..., Any]) -> None:
    async with door_with(ServerConfig(limits=LimitsConfig(question_chars=3))) as door:
        response = await chat(door, ASKED)
    assert (response.status_code, response.json()["kind"]) == (413, "too_large")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_cut_at_its_limit_of_tokens(stream: bool, door: httpx.AsyncClient, captioner: Any) -> None:
    captioner.steps, captioner.result = ["a red"], CaptionResult((ScoredCaption("a red", 0.5, 2, ended=False),))
    response = await chat(door, SHOWN, model="scripted", stream=stream)
    choice = chunks_of(response.text)[-1]["choices"][0] if stream else response.json()["choices"][0]
    assert choice["finish_reason"] == "length"


async def test_a_stop_ends_the_text_before_it(door: httpx.AsyncClient, captioner: Any) -> None:
    captioner.steps = ["a r", "ed ", "bo", "at"]
    captioner.result = CaptionResult((ScoredCaption("a red boat", 0.5, 3),))
    whole = (await chat(door, SHOWN, stop=["boats", " bo"], model="scripted")).json()
    streamed = chunks_of((await chat(door, SHOWN, stop=["boats", " bo"], model="scripted", stream=True)).text)
    assert whole["choices"][0]["message"]["content"] == "a red"
    assert whole["usage"]["completion_tokens"] == 2
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in streamed) == "a red"
    assert whole["choices"][0]["finish_reason"] == streamed[-1]["choices"][0]["finish_reason"] == "stop"
    assert captioner.finished == 1


async def test_a_stream_is_chunks_as_openai_s(door: httpx.AsyncClient, captioner: Any) -> None:
    captioner.result = CaptionResult((ScoredCaption("a red boat", 0.5, 3),))
    response = await chat(
        door, SHOWN, model="scripted", stream=True, stream_options={"include_usage": True, "include_obfuscation": False}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, last = chunks_of(response.text)
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in [*chunks, last]} == {
        (last["id"], "chat.completion.chunk", "scripted@1")
    }
    assert [chunk["usage"] for chunk in chunks] == [None] * 4
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "a red"},
        {"content": " boat"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 3)


async def test_a_stream_without_words_has_a_beginning_and_an_end(door: httpx.AsyncClient, captioner: Any) -> None:
    captioner.steps, captioner.result = [], CaptionResult((ScoredCaption("", 0.5),))
    first, last = chunks_of((await chat(door, SHOWN, model="scripted", stream=True)).text)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert "usage" not in first
    assert last["choices"][0]["finish_reason"] == "stop"


async def test_a_fault_on_the_way_is_the_last_event(door: httpx.AsyncClient, captioner: Any) -> None:
    captioner.steps = ["a red", InferenceError("not a number")]
    response = await chat(door, SHOWN, model="scripted", stream=True)
    assert response.status_code == 200
    last = response.text.removesuffix("\n\n").rpartition("\n\n")[2]
    fault = json.loads(last.removeprefix("data: "))
    assert fault["error"] == {
        "message": "not a number",
        "type": "server_error",
        "param": None,
        "code": "inference_failed",
    }
    assert fault["kind"] == "inference_failed"


async def test_what_is_refused_before_the_first_word_keeps_its_status(door: httpx.AsyncClient, captioner: Any) -> None:
    captioner.steps = [TaskNotSupportedError("no")]
    response = await chat(door, SHOWN, model="scripted", stream=True)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "task_not_supported")


@pytest.fixture
async def dummies(jpeg: bytes) -> AsyncIterator[httpx.AsyncClient]:
    async with open_dummies("dummy", "dummy-captioner", "dummy-encoder") as door:
        yield door


@pytest.fixture
def jpeg() -> bytes:
    return pictures_made.jpeg()


@pytest.mark.parametrize(
    ("model", "text", "answered_by"),
    [
        ("auto", "what?", "dummy@1"),
        (None, "what?", "dummy@1"),
        ("auto", "", "dummy-captioner@1"),
        (None, " \n", "dummy-captioner@1"),
        ("dummy@1", "what?", "dummy@1"),
        ("dummy-captioner", "what?", "dummy-captioner@1"),
        ("dummy-captioner", "", "dummy-captioner@1"),
    ],
)
async def test_the_task_is_that_of_the_model_or_of_what_is_asked(
    model: str | None, text: str, answered_by: str, dummies: httpx.AsyncClient, jpeg: bytes
) -> None:
    fields = {} if model is None else {"model": model}
    body = (await chat(dummies, [user(jpeg, text)], **fields)).json()
    streamed = chunks_of((await chat(dummies, [user(jpeg, text)], stream=True, **fields)).text)
    assert body["model"] == answered_by == streamed[0]["model"]
    told = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in streamed)
    assert told == body["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("model", "text", "status", "hint"),
    [
        ("dummy", "", 400, "models for caption: dummy-captioner"),
        ("dummy-encoder", "what?", 400, "models for vqa: dummy"),
        ("dummy-encoder", "", 400, "models for caption: dummy-captioner"),
        ("nobody", "what?", 404, "not served here"),
    ],
)
async def test_a_model_that_cannot_says_who_can(
    model: str, text: str, status: int, hint: str, dummies: httpx.AsyncClient, jpeg: bytes
) -> None:
    response = await chat(dummies, [user(jpeg, text)], model=model)
    assert response.status_code == status
    assert hint in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("served", "text", "status"),
    [("dummy-captioner", "a", 200), ("dummy-captioner", "", 200), ("dummy", "", 400), ("dummy-encoder", "a", 400)],
)
async def test_the_only_model_does_what_it_can(served: str, text: str, status: int, jpeg: bytes) -> None:
    async with open_dummies(served) as door:
        assert (await chat(door, [user(jpeg, text)])).status_code == status


async def test_several_answers_come_best_first(dummies: httpx.AsyncClient, jpeg: bytes) -> None:
    answers = (await dummies.post("/v1/vqa", json={"image": data_uri(jpeg), "question": "what?", "top_k": 3})).json()
    body = (await chat(dummies, [user(jpeg, "what?")], n=3)).json()
    assert [choice["message"]["content"] for choice in body["choices"]] == [one["answer"] for one in answers["answers"]]
    streamed = chunks_of((await chat(dummies, [user(jpeg)], n=2, stream=True)).text)
    assert {chunk["choices"][0]["index"] for chunk in streamed} == {0, 1}


async def test_a_model_is_described_by_any_of_its_names(dummies: httpx.AsyncClient) -> None:
    listed = {one["id"]: one for one in (await dummies.get("/v1/models")).json()["data"]}
    for name in ("dummy-captioner", "dummy-captioner@1"):
        assert (await dummies.get(f"/v1/models/{name}")).json() == listed["dummy-captioner@1"]
    missing = await dummies.get("/v1/models/nobody")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
