"""OpenAI's own package against a real process: chats, streams, vectors, models, its errors and its retries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pictures_made as pictures
import pytest
from chat_bodies import data_uri, user
from openai.types.chat import ChatCompletionChunk
from server_process import ServerProcess
from vlp_server.access.keys import Role, new_key
from vlp_zoo.paths import zoo_path

MODELS = ("dummy", "dummy-captioner", "dummy-encoder")
PICTURE = pictures.jpeg()
WHAT: Any = [user(PICTURE, "what?")]
SHOWN: Any = [user(PICTURE)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("openai"), *MODELS) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def joined(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="auto", messages=WHAT)
    assert (answer.model, answer.choices[0].finish_reason) == ("dummy@1", "stop")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1
    caption = client.chat.completions.create(model="dummy-captioner", messages=SHOWN, max_completion_tokens=3, n=2)
    assert [choice.finish_reason for choice in caption.choices] == ["length"] * 2
    assert [len((choice.message.content or "").split()) for choice in caption.choices] == [3, 3]
    assert caption.usage is not None
    assert caption.usage.completion_tokens == 6


def test_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="auto", messages=SHOWN)
    chunks = list(
        client.chat.completions.create(
            model="auto", messages=SHOWN, stream=True, stream_options={"include_usage": True}
        )
    )
    assert joined(chunks) == whole.choices[0].message.content
    assert len(chunks) >= 5
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    with client.chat.completions.stream(model="auto", messages=SHOWN) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == whole.choices[0].message.content


def test_vectors(client: openai.OpenAI) -> None:
    # The package asks for base64 by itself, and reads it.
    found = client.embeddings.create(model="dummy-encoder", input=["a", "b", "a"])
    first, second, third = (item.embedding for item in found.data)
    assert len(first) == 16
    assert first == third != second
    assert found.usage.prompt_tokens == 3


def test_models(client: openai.OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["dummy@1", "dummy-captioner@1", "dummy-encoder@1"]
    assert client.models.retrieve("dummy-encoder@1") == listed[2] == client.models.retrieve("dummy-encoder")


async def test_the_async_client(server: ServerProcess) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        answers = await asyncio.gather(
            *(client.chat.completions.create(model="auto", messages=[user(PICTURE, f"what {n}?")]) for n in range(8))
        )
        stream = await client.chat.completions.create(model="auto", messages=SHOWN, stream=True)
        chunks = [chunk async for chunk in stream]
        whole = await client.chat.completions.create(model="auto", messages=SHOWN)
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody")
    assert all(answer.choices[0].message.content for answer in answers)
    assert joined(chunks) == whole.choices[0].message.content


@pytest.mark.parametrize(
    ("call", "kind", "code", "param"),
    [
        ({"model": "nobody", "messages": WHAT}, openai.NotFoundError, "model_not_found", None),
        ({"messages": [user(None, "hi")]}, openai.BadRequestError, "invalid_argument", "messages"),
        ({"messages": WHAT, "logprobs": True}, openai.BadRequestError, "invalid_argument", "logprobs"),
        ({"model": "dummy-encoder", "messages": WHAT}, openai.BadRequestError, "task_not_supported", None),
        ({"messages": [user(b"no picture", "a")]}, openai.UnprocessableEntityError, "invalid_image", None),
        ({"messages": [user(PICTURE, "x" * 5000)]}, openai.APIStatusError, "too_large", None),
        ({"messages": [user(PICTURE, "[nan]")]}, openai.InternalServerError, "inference_failed", None),
        ({"messages": SHOWN, "stream": True, "top_p": 7}, openai.BadRequestError, "invalid_argument", "top_p"),
    ],
)
def test_faults_are_the_errors_of_the_package(
    call: dict[str, Any], kind: type[openai.APIStatusError], code: str, param: str | None, client: openai.OpenAI
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "auto", **call})
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.request_id


def test_keys(tmp_path: Path) -> None:
    key, record = new_key("reader", Role.READ)
    with ServerProcess(tmp_path, "dummy", VLPSERVE_ACCESS_KEYS=record.line) as server:
        url = f"{server.url}/v1"
        for sent in ("wrong", key):
            with openai.OpenAI(base_url=url, api_key=sent, max_retries=0) as client:
                if sent == key:
                    assert client.models.list().data[0].id == "dummy@1"
                    with pytest.raises(openai.PermissionDeniedError):
                        client.models.delete("dummy")
                    continue
                for call in (client.models.list, lambda: client.chat.completions.create(model="auto", messages=WHAT)):
                    with pytest.raises(openai.AuthenticationError) as caught:
                        call()
                    assert caught.value.code == "invalid_api_key"


def test_a_full_server_is_asked_again_after_the_time_it_names(tmp_path: Path) -> None:
    environment = {"VLPSERVE_HTTP_MAX_IN_FLIGHT": "1", "VLPSERVE_ENGINE_DUMMY_LATENCY_S": "0.02"}
    with ServerProcess(tmp_path, "dummy-captioner", **environment) as server:
        tries: list[tuple[int, str | None]] = []
        patient = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=20)
        hasty = patient.with_options(max_retries=0)
        patient._client.event_hooks["response"].append(
            lambda answer: tries.append((answer.status_code, answer.headers.get("retry-after")))
        )
        long: Any = {"max_tokens": 512, "temperature": 1.5, "seed": 18}
        running = hasty.chat.completions.create(model="auto", messages=SHOWN, stream=True, **long)
        next(iter(running))
        with pytest.raises(openai.RateLimitError) as caught:
            hasty.chat.completions.create(model="auto", messages=SHOWN)
        assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
        running.close()  # frees its place
        tries.clear()
        answer = patient.chat.completions.create(model="auto", messages=SHOWN)
        assert answer.choices[0].message.content
        assert all(tried == (429, "1") for tried in tries[:-1])
        patient.close()


def test_the_shipped_models_answer_and_describe(tmp_path: Path) -> None:
    scene = zoo_path() / "samples" / "scene-1.jpg"
    question = "what is to the left of the boat?"
    with ServerProcess(tmp_path) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        asked: Any = [user(scene.read_bytes(), question)]
        shown: Any = [user(scene.read_bytes())]
        answer = client.chat.completions.create(model="auto", messages=asked)
        caption = client.chat.completions.create(model="auto", messages=shown)
        chunks = list(client.chat.completions.create(model="scenes-blip", messages=shown, stream=True))
        vectors = client.embeddings.create(
            model="scenes-clip",
            input=[{"image": data_uri(scene.read_bytes())}, "a boat"],  # type: ignore[list-item]
        )
        body = {"image": data_uri(scene.read_bytes())}
        plain = httpx.post(f"{server.url}/v1/vqa", json=body | {"question": question}, trust_env=False).json()
        described = httpx.post(f"{server.url}/v1/caption", json=body, trust_env=False).json()
    assert answer.model == plain["model"] == "scenes-vilt-vqa@1"
    assert answer.choices[0].message.content == plain["answers"][0]["answer"]
    assert answer.usage is not None
    # [CLS], eight words and a mark, [SEP]; an answer of one word
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 1)
    assert caption.model == described["model"] == "scenes-blip@1"
    assert caption.choices[0].message.content == described["captions"][0]["text"] == joined(chunks)
    assert caption.choices[0].finish_reason == "stop"
    assert len(vectors.data) == 2
