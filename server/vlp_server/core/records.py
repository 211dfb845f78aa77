"""What the service hands to a door: replies, model cards, readiness. No HTTP and no protobuf here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.pipeline import FoundRegions
from vlp_spec.tasks import (
    CaptionResult,
    ClassifyResult,
    EntailmentResult,
    GroundingResult,
    MatchResult,
    ReasoningResult,
    Task,
    VqaResult,
)

R = TypeVar("R")


class ModelState(StrEnum):
    """Where a model is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a request went, milliseconds. With several items each figure is the longest of them.

    Attributes:
        queue_ms: waiting for a preprocessing thread and for the engine.
        preprocess_ms: decoding, resizing, tokenising.
        regions_ms: finding regions and their features, waiting included.
        infer_ms: the batch in the engine.
        postprocess_ms: outputs to answers.
        cache_ms: hashing the picture and looking it up.
        store_ms: in the store of collections.
        rerank_ms: looking at the first hits of a search again.
        cached: answers or vectors that came from the cache.
        batch_items: items of the largest batch that one was computed in; 0 when all came from the cache.
    """

    queue_ms: float = 0.0
    preprocess_ms: float = 0.0
    regions_ms: float = 0.0
    infer_ms: float = 0.0
    postprocess_ms: float = 0.0
    cache_ms: float = 0.0
    store_ms: float = 0.0
    rerank_ms: float = 0.0
    cached: int = 0
    batch_items: int = 0


def longest(parts: Sequence[Timings]) -> Timings:
    """Of work done side by side: the longest of each stage, and how many came from the cache in all."""
    return _joined(parts, max)


def in_turn(*parts: Timings) -> Timings:
    """Of work done one after another: the sum of each stage."""
    return _joined(parts, sum)


def _joined(parts: Sequence[Timings], join: Callable[[list[float]], float]) -> Timings:
    if not parts:
        return Timings()
    names = [field.name for field in fields(Timings) if field.name.endswith("_ms")]
    return Timings(
        **{name: join([getattr(part, name) for part in parts]) for name in names},
        cached=sum(part.cached for part in parts),
        batch_items=max(part.batch_items for part in parts),
    )


@dataclass(frozen=True, slots=True)
class QueryReply(Generic[R]):
    """What was found for the queries of one request, in their order.

    Attributes:
        model: "name@version" that answered.
    """

    model: str
    results: list[R]
    timings: Timings


VqaReply = QueryReply[VqaResult]
CaptionReply = QueryReply[CaptionResult]
MatchReply = QueryReply[MatchResult]
EntailmentReply = QueryReply[EntailmentResult]
ReasoningReply = QueryReply[ReasoningResult]
GroundingReply = QueryReply[GroundingResult]


@dataclass(frozen=True, slots=True)
class CaptionPiece:
    """A step of a caption that is sent while it is written: words to append to those before."""

    text: str


@dataclass(frozen=True, slots=True)
class Encoder:
    """What makes vectors: name@version, its digest in hex, and how long the vectors are."""

    model: str
    digest: str
    dimension: int


@dataclass(frozen=True, slots=True)
class EmbedReply:
    """Vectors of pictures and texts, in their order.

    Attributes:
        model: "name@version" that made them.
        encoder: digest of what made them, hex: vectors can be compared only where it is the same.
        vectors: (items, dimension) float32, each of length 1.
        tokens: of all texts together.
    """

    model: str
    encoder: str
    vectors: NDArray[np.float32]
    tokens: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class ClassifyReply:
    """Scores of all labels, best first, and "name@version" that gave them."""

    model: str
    result: ClassifyResult
    timings: Timings


@dataclass(frozen=True, slots=True)
class RegionsReply:
    """What an extractor found in a picture.

    Attributes:
        model: "name@version" that found it.
        encoder: its digest, hex: features can be used only by a model that was made for it.
    """

    model: str
    encoder: str
    found: FoundRegions
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
        default: whether it is the default model: the one that was configured as such, or else the first.
        default_for: the tasks for which requests that name no model come here.
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
    default_for: tuple[Task, ...] = ()
    created: str | None = None


class VersionState(StrEnum):
    """Where a version of a model is: on disk alone, or on its way to requests or from them."""

    ON_DISK = "on_disk"
    LOADING = "loading"
    SERVED = "served"
    FAILED = "failed"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a model for its operator.

    Attributes:
        version: None where a configured reference means none.
        state: failed, too, when it could not be loaded the last time.
        reason: why it is loading or failed, safe to show; else empty.
        current: whether its name without a version means it.
        previous: whether rolling back would lead to it.
        requests: inside it now.
    """

    name: str
    version: int | None
    state: VersionState
    reason: str = ""
    current: bool = False
    previous: bool = False
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service should get requests: every model that answers for its name proved itself, none of them is
    stalled, and it is not draining.

    Attributes:
        models: "name" or "name@version" -> "ready", or the reason why not.
        reason: of the service as a whole: "ready", "starting", "draining", "some models are not ready", or "stalled:"
            with what it waits for.
    """

    ready: bool
    models: Mapping[str, str]
    reason: str = "ready"
