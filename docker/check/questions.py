"""Every task of a running server, asked as a client asks; answers are held against those that the README promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import vlp_client
from vlp_client import Client, NewItem, picture

SAMPLES = Path(__file__).parents[2] / "models" / "zoo" / "vlp_zoo" / "samples"
_READY_S = 240.0
_LOOK_S = 0.5


class QuestionError(Exception):
    """An answer that is not the expected one, or none at all."""


def wait_ready(url: str) -> None:
    """Wait until a server takes requests.

    Raises:
        QuestionError: it does not in time.
    """
    end = time.monotonic() + _READY_S
    with Client(url) as client:
        while time.monotonic() < end:
            try:
                if client.ready():
                    return
            except vlp_client.VlpClientError:
                pass  # nobody listens yet
            time.sleep(_LOOK_S)
    raise QuestionError(f"{url} was not ready within {_READY_S:.0f} s")


def ask_everything(url: str) -> list[str]:
    """Ask each task of each model of /v1/models once, and a collection.

    Returns:
        a line of each.

    Raises:
        QuestionError: a task failed, or is none that this asks.
    """
    said = []
    try:
        with Client(url, timeout_s=120.0) as client:
            models = client.models()
            for model in models:
                for task in model.tasks:
                    said.append(f"{model.id} {task}: {_ask(client, task, model.name)}")
            if not said:
                raise QuestionError(f"{url} serves nothing")
            said.append(f"collection: {_search(client)}")
    except vlp_client.VlpClientError as error:
        raise QuestionError(f"{error!r} after {said}") from error
    return said


def ask_something(url: str) -> None:
    """Ask the default models a question that nobody has asked, and for a caption that a cache may have."""
    with Client(url) as client:
        client.vqa(SAMPLES / "scene-1.jpg", f"what color is the boat? {time.monotonic_ns()}")
        client.caption(SAMPLES / "scene-5.jpg")


def ask_wrongly(url: str) -> None:
    """Ask what must be refused.

    Raises:
        QuestionError: it was not.
    """
    with Client(url) as client:
        try:
            client.vqa(b"no picture", "what is it?")
        except vlp_client.RequestError:
            return
    raise QuestionError(f"{url} took text for a picture")


def _ask(client: Client, task: str, model: str) -> str:
    if task not in _TASKS:
        raise QuestionError(f"{task}: a task that this check does not know; add it")
    return _TASKS[task](client, model)


def _expect(got: object, expected: object) -> str:
    if got != expected:
        raise QuestionError(f"got {got!r}, expected {expected!r}")
    return str(got)


def _vqa(client: Client, model: str) -> str:
    return _expect(
        client.vqa(SAMPLES / "scene-1.jpg", "what color is the boat?", model=model).answers[0].answer, "purple"
    )


def _caption(client: Client, model: str) -> str:
    expected = "a large orange clock at the bottom left, a small blue apple at the middle right"
    with client.stream_caption(SAMPLES / "scene-5.jpg", model=model) as stream:
        _expect("".join(stream), expected)
    return _expect(client.caption(SAMPLES / "scene-5.jpg", model=model).captions[0].text, expected)


def _embeddings(client: Client, model: str) -> str:
    vectors = client.embed(["two yellow planes", picture(SAMPLES / "scene-2.jpg")], model=model).vectors
    return f"{_expect(len(vectors), 2)} vectors of {len(vectors[0])}"


def _classify(client: Client, model: str) -> str:
    labels = ["two yellow planes", "a green dog", "three red cars"]
    return _expect(client.classify(SAMPLES / "scene-2.jpg", labels, model=model).scores[0].label, labels[0])


def _match(client: Client, model: str) -> str:
    texts = ["a green dog", "two yellow planes"]
    scores = client.match(SAMPLES / "scene-2.jpg", texts, model=model).scores
    return _expect(max(scores, key=lambda each: each.score).text, texts[1])


def _entailment(client: Client, model: str) -> str:
    hypothesis = "there is a red camera at the middle left"
    return _expect(client.entailment(SAMPLES / "gallery-1.jpg", hypothesis, model=model).label, "neutral")


def _reasoning(client: Client, model: str) -> str:
    pictures = (SAMPLES / "gallery-2.jpg", SAMPLES / "gallery-3.jpg")
    statement = "there are more ducks in the right picture than in the left picture"
    return _expect(client.reasoning(pictures, statement, model=model).label, True)


def _grounding(client: Client, model: str) -> str:
    box = client.grounding(SAMPLES / "gallery-1.jpg", "the large yellow drum", model=model).boxes[0].box
    return _expect([round(side, 1) for side in box], [0.7, 0.8, 0.9, 1.0])


def _regions(client: Client, model: str) -> str:
    found = len(client.regions(SAMPLES / "gallery-1.jpg", model=model).regions)
    if not found:
        raise QuestionError("no regions of a picture full of things")
    return f"{found} found"


_TASKS: dict[str, Callable[[Client, str], str]] = {
    "vqa": _vqa,
    "caption": _caption,
    "embeddings": _embeddings,
    "classify": _classify,
    "match": _match,
    "entailment": _entailment,
    "reasoning": _reasoning,
    "grounding": _grounding,
    "regions": _regions,
}


def _search(client: Client) -> str:
    """A collection, which needs a place that may be written on."""
    collection = client.collection("check")
    collection.create()
    names = [path for path in sorted(SAMPLES.glob("scene-*.jpg"))]
    collection.add(NewItem(id=path.stem, image=path) for path in names)
    try:
        return _expect(collection.search("two yellow planes", k=1).hits[0].id, "scene-2")
    finally:
        collection.drop()
