"""The documents that this door answers with, as the OpenAPI description shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Answer(BaseModel):
    """An answer and its score between 0 and 1."""

    answer: str
    score: float


class VqaAnswers(BaseModel):
    """The reply to one `question`: answers, best first, and the model that gave them (name@version)."""

    model: str
    answers: list[Answer]


class VqaResult(BaseModel):
    """One question of a list, with its answers, best first."""

    question: str
    answers: list[Answer]


class VqaResults(BaseModel):
    """The reply to `questions`, in their order."""

    model: str
    results: list[VqaResult]


class Caption(BaseModel):
    """A caption, and the geometric mean of its tokens' probabilities, 0 to 1."""

    text: str
    score: float


class Captions(BaseModel):
    """Captions, best first, and the model that wrote them (name@version)."""

    captions: list[Caption]
    model: str


class LabelScore(BaseModel):
    """A label and its score between 0 and 1."""

    label: str
    score: float


class ClassifyScores(BaseModel):
    """All labels, best first, and the model that scored them (name@version)."""

    model: str
    scores: list[LabelScore]


class TextScore(BaseModel):
    """A text, and the probability that it fits the picture.

    `itm` is the probability of the head that reads picture and text together; `itc`, where the model computes it, the
    cosine of picture and text each by itself.
    """

    text: str
    score: float
    itm: float
    itc: float | None = None


class MatchScores(BaseModel):
    """The texts in their order, and the model that scored them (name@version)."""

    model: str
    scores: list[TextScore]


class EntailmentScores(BaseModel):
    """The likeliest label, all labels of the model with their probabilities, and the model (name@version)."""

    model: str
    label: str
    scores: dict[str, float]


class EntailmentResult(BaseModel):
    """One hypothesis of a list, with its labels."""

    hypothesis: str
    label: str
    scores: dict[str, float]


class EntailmentResults(BaseModel):
    """The reply to `hypotheses`, in their order."""

    model: str
    results: list[EntailmentResult]


class ReasoningTruth(BaseModel):
    """Whether the statement is rather true, the probability that it is, and the model (name@version)."""

    model: str
    label: bool
    score: float


class ReasoningResult(BaseModel):
    """One statement of a list."""

    statement: str
    label: bool
    score: float


class ReasoningResults(BaseModel):
    """The reply to `statements`, in their order."""

    model: str
    results: list[ReasoningResult]


class ScoredBox(BaseModel):
    """A part of a picture: x0, y0, x1, y1 as shares of its width and height, with a score between 0 and 1."""

    box: list[float]
    score: float


class GroundingBoxes(BaseModel):
    """The best boxes for one `phrase`, best first, and the model that found them (name@version)."""

    model: str
    boxes: list[ScoredBox]


class GroundingResult(BaseModel):
    """One phrase of a list, with its boxes, best first."""

    phrase: str
    boxes: list[ScoredBox]


class GroundingResults(BaseModel):
    """The reply to `phrases`, in their order."""

    model: str
    results: list[GroundingResult]


class Region(BaseModel):
    """A region, what it is taken for, and how (null where the model knows no attributes)."""

    box: list[float]
    score: float | None
    name: str
    attribute: str | None


class FoundRegions(BaseModel):
    """The regions of a picture, the most confident first.

    `encoder` is the digest of what found them: only models that were made for it can read the features. These are
    little-endian float32 in base64, region after region, `feature_size` numbers each. {"boxes", "features", "scores"}
    is what other calls take as `regions`.
    """

    model: str
    encoder: str
    regions: list[Region]
    features: str | None = None
    feature_size: int | None = None


class Embedding(BaseModel):
    """The vector of one input; base64 of little-endian float32 where that was asked for."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Text tokens as the model took them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """Vectors in the order of the inputs, and the model that made them (name@version)."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class CollectionIndex(BaseModel):
    """What searches are made with now: the built index, and beside it what is searched exactly."""

    kind: str | None
    built_items: int
    tail_items: int
    deleted_items: int
    building: bool


class Collection(BaseModel):
    """A collection. `encoder` is the digest of the encoder whose vectors it holds; no other's compare with them.

    `index` is null where the store keeps that to itself.
    """

    name: str
    model: str
    encoder: str
    dimension: int
    metric: str
    store_images: bool
    items: int
    created: int
    index: CollectionIndex | None
    index_settings: dict[str, int | str]


class CollectionList(BaseModel):
    """All collections, by name."""

    collections: list[Collection]


class Deleted(BaseModel):
    """What is gone."""

    id: str
    deleted: Literal[True] = True


class ItemFault(BaseModel):
    """Why an item was not kept; `kind` as in the document of an error."""

    kind: str
    detail: str
    retry_after_s: float | None = None


class AddedItem(BaseModel):
    """What became of an item. An item that was created or updated is on disk."""

    id: str
    status: Literal["created", "updated", "failed"]
    error: ItemFault | None = None


class AddedItems(BaseModel):
    """One result for each item, in their order, and the encoder (name@version, and its digest)."""

    model: str
    encoder: str
    results: list[AddedItem]


class KnownItems(BaseModel):
    """The ids that are there, with the sha256 of their pictures, or null."""

    known: dict[str, str | None]


class Item(BaseModel):
    """An item of a collection."""

    id: str
    metadata: dict[str, Any]
    image_sha256: str | None
    image_stored: bool
    created: int


class SearchHit(BaseModel):
    """A hit. A higher `score` is nearer; `rerank_score` is the matcher's, the probability that text and picture belong
    together, or what the matcher's family orders by (BLIP: ITM logit + ITC cosine).
    """

    id: str
    score: float
    metadata: dict[str, Any]
    rerank_score: float | None = None


class SearchHits(BaseModel):
    """Hits, best first, with the encoder that searched and the model that looked again."""

    model: str
    encoder: str
    hits: list[SearchHit]
    reranked_by: str | None = None


class Model(BaseModel):
    """A served model: OpenAI's fields first, then ours.

    `limits` holds the largest size of each axis of the model's graphs, such as text tokens; `default_for` the tasks for
    which it answers calls that name no model.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    name: str
    version: int | None
    family: str | None
    tasks: list[str]
    precision: str | None
    limits: dict[str, int]
    state: str
    reason: str
    default: bool
    default_for: list[str]


class ModelVersion(BaseModel):
    """A version of a model for its operator.

    `version` is null where a configured reference means none. `reason` says why it is not ready, or could not be loaded
    the last time; `current`, whether its name without a version means it; `previous`, whether rolling back would lead
    to it; `requests`, how many are inside.
    """

    name: str
    version: int | None
    state: Literal["on_disk", "loading", "served", "failed", "unloading"]
    reason: str
    current: bool
    previous: bool
    requests: int


class ModelVersions(BaseModel):
    """Versions by name and number: of all models, or of the one that was changed."""

    models: list[ModelVersion]


class RequestLimits(BaseModel):
    """What one call may hold."""

    body_bytes: int
    image_bytes: int
    questions: int
    question_chars: int
    answers: int
    answer_chars: int
    labels: int
    label_chars: int
    templates: int
    texts: int
    text_chars: int
    regions: int
    inputs: int
    request_timeout_ms: int


class ModelList(BaseModel):
    """All served models, the default one first."""

    object: Literal["list"] = "list"
    data: list[Model]
    request_limits: RequestLimits


class Readiness(BaseModel):
    """Whether requests should come here, with a word for each model."""

    ready: bool
    models: dict[str, str]


class Liveness(BaseModel):
    """False: only a restart helps."""

    alive: bool


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `kind` is stable and made for programs; `detail` is made for people."""

    type: str
    title: str
    status: int
    detail: str
    kind: str
    request_id: str
    field: str | None = None
    retry_after_s: float | None = None


class OpenAIError(BaseModel):
    """`code` is OpenAI's word for the fault where it has one, else its `kind`; `param` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIErrorDocument(ProblemDocument):
    """An error in OpenAI's form, with the members of a problem document (RFC 9457) beside."""

    error: OpenAIError
