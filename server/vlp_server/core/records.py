"""What the service hands to a door: replies, model cards, readiness. No HTTP and no protobuf here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vlp_spec.tasks import Task, VqaResult


class ModelState(StrEnum):
    """Where a model is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a request went, milliseconds. With several questions each figure is the longest of them.

    Attributes:
        queue_ms: waiting for a preprocessing thread and for the engine.
        preprocess_ms: decoding, resizing, tokenising.
        infer_ms: the batch in the engine.
        postprocess_ms: outputs to answers.
        cache_ms: hashing the picture and looking it up.
        cached: answers that came from the cache.
        batch_items: items of the largest batch that a question was computed in; 0 when all came from the cache.
    """

    queue_ms: float = 0.0
    preprocess_ms: float = 0.0
    infer_ms: float = 0.0
    postprocess_ms: float = 0.0
    cache_ms: float = 0.0
    cached: int = 0
    batch_items: int = 0


@dataclass(frozen=True, slots=True)
class VqaReply:
    """Answers to the questions of one request, in their order.

    Attributes:
        model: "name@version" that answered.
    """

    model: str
    results: list[VqaResult]
    timings: Timings


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a caller may know of a served model.

    Attributes:
        name: as asked for when it is not loaded yet.
        version: None while it is not known (loading or failed early).
        tasks: empty while not known.
        limits: axis name -> largest size, such as {"text": 40, "patches": 240}.
        state: loading, ready or failed.
        reason: "ready", or why not, safe to show.
        default: whether requests that name no model come here.
        created: when the deployment was exported, as its manifest says (ISO 8601), None while not known.
    """

    name: str
    version: int | None
    tasks: tuple[Task, ...]
    precision: str | None
    family: str | None
    limits: Mapping[str, int]
    state: ModelState
    reason: str
    default: bool
    created: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service should get requests: every model proved itself, none is stalled, and it is not draining.

    Attributes:
        models: "name" or "name@version" -> "ready", or the reason why not.
        reason: of the service as a whole: "ready", "starting", "draining", "some models are not ready", or "stalled:"
            with what it waits for.
    """

    ready: bool
    models: Mapping[str, str]
    reason: str = "ready"
