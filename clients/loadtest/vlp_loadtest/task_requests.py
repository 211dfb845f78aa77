"""What is asked: one function a task makes a request of a picture and of words, and one looks at the answer."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from vlp_loadtest.pictures import Pictures
from vlp_loadtest.shown import one_line
from vlp_loadtest.skew import Skewed

QUESTIONS = (
    "what color is the circle?",
    "how many things are there?",
    "is there a red thing?",
    "what is at the top left?",
    "is the square left of the circle?",
    "are there more circles than squares?",
    "what color is the largest thing?",
    "what is below the green thing?",
)
SENTENCES = (
    "there is a red thing at the top left",
    "a blue square and a green circle",
    "two yellow things",
    "a large purple circle at the middle",
    "an orange square right of a small circle",
)
PHRASES = ("the large red thing", "the circle", "the small blue square")
LABELS = ("circle", "square", "triangle", "nothing")
_TEXT_SKEW = 1.0
_JSON = "application/json"
_JPEG = "image/jpeg"
_LONGEST_KIND = 100
_DONE_EVENT = b"event: done"


@dataclass(frozen=True, slots=True)
class Request:
    """A POST that is ready to be sent.

    Attributes:
        task: name in the report.
        target: path with its query.
        expected: the member that a good answer has; "" where a stream has to come to its end.
    """

    task: str
    target: str
    body: bytes
    content_type: str
    expected: str


@dataclass(slots=True)
class Material:
    """What requests are made of.

    Attributes:
        pictures: where they come from.
        model: for every request; None for the server's default.
        collection: that is searched and added to.
        questions: for vqa, in place of the built-in ones.
    """

    chance: random.Random
    pictures: Pictures
    model: str | None = None
    collection: str | None = None
    questions: Sequence[str] = QUESTIONS
    _skews: dict[int, Skewed] = field(default_factory=dict)
    _added: int = 0

    def text(self, texts: Sequence[str]) -> str:
        """One of them, the first ones most often."""
        skewed = self._skews.setdefault(len(texts), Skewed(len(texts), _TEXT_SKEW))
        return texts[skewed.draw(self.chance)]

    def encoded(self) -> str:
        """A picture in base64."""
        return base64.b64encode(self.pictures.next()).decode()

    def item_id(self) -> str:
        """Of an item to be added; none comes twice."""
        self._added += 1
        return f"load-{self.chance.getrandbits(32):08x}-{self._added}"


@dataclass(frozen=True, slots=True)
class TaskKind:
    """A kind of request.

    Attributes:
        served_as: the task in a server's list of models that has to be there.
        weight: its share of a mix, over the sum of all weights.
        make: material -> request.
        in_collection: whether a collection is needed.
        writes: whether it changes the server; such a one is asked only where it is wished for.
    """

    served_as: str
    weight: float
    make: Callable[[Material], Request]
    in_collection: bool = False
    writes: bool = False


def fault_of(request: Request, status: int, body: bytes) -> str | None:
    """What is wrong with an answer: the kind of its problem, or "unexpected_answer"; None: nothing."""
    if status != 200:
        return _kind(body, status)
    if not request.expected:
        return None if _DONE_EVENT in body else "unexpected_answer"
    try:
        document = json.loads(body)
    except ValueError:
        return "unexpected_answer"
    return None if isinstance(document, dict) and request.expected in document else "unexpected_answer"


def _kind(body: bytes, status: int) -> str:
    try:
        document: Any = json.loads(body)
        # The doors that are shaped as OpenAI's have errors of that shape.
        kind = str(document["kind"] if "kind" in document else document["error"]["code"])
        return one_line(kind, _LONGEST_KIND)
    except (ValueError, KeyError, TypeError):
        return f"status_{status}"


def _raw(task: str, path: str, expected: str, material: Material, **fields: str) -> Request:
    """A picture as the body, the rest as the query."""
    if material.model is not None:
        fields["model"] = material.model
    return Request(task, f"{path}?{urlencode(fields)}", material.pictures.next(), _JPEG, expected)


def _document(task: str, path: str, expected: str, material: Material, document: dict[str, Any]) -> Request:
    if material.model is not None and task != "search":
        document["model"] = material.model
    return Request(task, path, json.dumps(document).encode(), _JSON, expected)


def _vqa(material: Material) -> Request:
    return _raw("vqa", "/v1/vqa", "answers", material, question=material.text(material.questions))


def _caption(material: Material) -> Request:
    return _raw("caption", "/v1/caption", "captions", material, max_tokens="20")


def _caption_stream(material: Material) -> Request:
    return _raw("caption_stream", "/v1/caption", "", material, max_tokens="20", stream="true")


def _match(material: Material) -> Request:
    return _raw("match", "/v1/match", "scores", material, text=material.text(SENTENCES))


def _entailment(material: Material) -> Request:
    return _raw("entailment", "/v1/entailment", "label", material, hypothesis=material.text(SENTENCES))


def _grounding(material: Material) -> Request:
    return _raw("grounding", "/v1/grounding", "boxes", material, phrase=material.text(PHRASES))


def _regions(material: Material) -> Request:
    return _raw("regions", "/v1/regions", "regions", material)


def _classify(material: Material) -> Request:
    document: dict[str, Any] = {"image": material.encoded(), "labels": list(LABELS)}
    return _document("classify", "/v1/classify", "scores", material, document)


def _reasoning(material: Material) -> Request:
    pair = [material.encoded(), material.encoded()]
    document = {"images": pair, "statement": material.text(SENTENCES)}
    return _document("reasoning", "/v1/reasoning", "label", material, document)


def _embeddings(material: Material) -> Request:
    items: list[Any] = [material.text(SENTENCES), {"image": material.encoded()}]
    document = {"input": items, "encoding_format": "base64"}
    return _document("embeddings", "/v1/embeddings", "data", material, document)


def _search(material: Material) -> Request:
    path = f"/v1/collections/{quote(material.collection or '', safe='')}/search"
    return _document("search", path, "hits", material, {"text": material.text(SENTENCES), "k": 10})


def _index(material: Material) -> Request:
    path = f"/v1/collections/{quote(material.collection or '', safe='')}/items"
    items = [{"id": material.item_id(), "image": material.encoded()}]
    return Request("index", path, json.dumps({"items": items}).encode(), _JSON, "results")


TASKS: Mapping[str, TaskKind] = {
    "vqa": TaskKind("vqa", 6, _vqa),
    "search": TaskKind("embeddings", 4, _search, in_collection=True),
    "caption": TaskKind("caption", 2, _caption),
    "caption_stream": TaskKind("caption", 1, _caption_stream),
    "match": TaskKind("match", 1, _match),
    "entailment": TaskKind("entailment", 1, _entailment),
    "classify": TaskKind("classify", 1, _classify),
    "embeddings": TaskKind("embeddings", 1, _embeddings),
    "grounding": TaskKind("grounding", 1, _grounding),
    "reasoning": TaskKind("reasoning", 1, _reasoning),
    "regions": TaskKind("regions", 1, _regions),
    "index": TaskKind("embeddings", 0, _index, in_collection=True, writes=True),
}
"""All kinds by name. `index` is bulk work, which the server lets wait behind the others."""
