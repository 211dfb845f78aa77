"""Frozen settings of the core. They check themselves; where their values come from is vlp_server.config's business."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vlp_pipeline.pipeline import PAIR_PREFIXES
from vlp_spec.errors import ConfigError

from vlp_server.engines.settings import EngineSettings
from vlp_server.machine import usable_cpus

__all__ = [
    "AdmissionSettings",
    "BatchSettings",
    "CacheSettings",
    "CollectionSettings",
    "CoreSettings",
    "EngineSettings",
    "ModelSettings",
    "WatchdogSettings",
]

_MIB = 1024 * 1024


def _check_at_least(place: str, values: dict[str, float], low: float) -> list[str]:
    """One fault for each value that is below `low` (NaN included)."""
    return [
        f"{place}.{name}: got {value}, expected {low} or more" for name, value in values.items() if not value >= low
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How items of one model are put together. There is no waiting time: see docs/decisions.

    Attributes:
        max_items: items in a batch at most; 1 = no batching.
        max_text_area: text tokens of the longest item x items, at most.
        max_patch_area: patches, or regions, of the largest picture x items, at most.
        max_padding_waste: share of a batch's padded area that may be padding, 0 to 1; an item that would raise it
            above waits for a batch of its own length.
        bulk_every: while bulk items wait, every n-th batch is led by one of them, however many interactive ones wait.
        max_texts: texts that a model writes side by side, beams counted; a request with more is written alone.
    """

    max_items: int = 16
    max_text_area: int = 4096
    max_patch_area: int = 8192
    max_padding_waste: float = 0.25
    bulk_every: int = 5
    max_texts: int = 32

    def __post_init__(self) -> None:
        faults = _check_at_least(
            "batch",
            {
                "max_items": self.max_items,
                "max_text_area": self.max_text_area,
                "max_patch_area": self.max_patch_area,
                "max_texts": self.max_texts,
            },
            1,
        )
        faults += _check_at_least("batch", {"bulk_every": self.bulk_every}, 2)
        if not 0 <= self.max_padding_waste <= 1:
            faults.append(f"batch.max_padding_waste: got {self.max_padding_waste}, expected 0 to 1")
        if faults:
            raise ConfigError(faults)

    @property
    def area_budgets(self) -> dict[str, int]:
        """Axis name -> its budget of padded area in a batch."""
        pictures = ("patches", "regions")
        axes = [f"{prefix}{axis}" for prefix in ("", *PAIR_PREFIXES) for axis in pictures]
        return {"text": self.max_text_area, **dict.fromkeys(axes, self.max_patch_area)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """What may wait. Everything beyond is refused at once with the time after which to try again.

    Attributes:
        max_requests: requests inside the service at the same time, all models together.
        max_request_bytes: bytes of pictures held by those requests, all together.
        max_queries: questions in one request.
        max_queue_cost: per model: text tokens + patches of all queued items.
        bulk_share: share of `max_queue_cost` that bulk items may fill, so that interactive ones find room; 0 to 1.
        default_timeout_s: deadline of a request that brings none.
    """

    max_requests: int = 256
    max_request_bytes: int = 512 * _MIB
    max_queries: int = 64
    max_queue_cost: int = 65536
    bulk_share: float = 0.5
    default_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        faults = _check_at_least(
            "admission",
            {
                "max_requests": self.max_requests,
                "max_request_bytes": self.max_request_bytes,
                "max_queries": self.max_queries,
                "max_queue_cost": self.max_queue_cost,
            },
            1,
        )
        if not 0 <= self.bulk_share <= 1:
            faults.append(f"admission.bulk_share: got {self.bulk_share}, expected 0 to 1")
        if not self.default_timeout_s > 0:
            faults.append(f"admission.default_timeout_s: got {self.default_timeout_s}, expected more than 0")
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Bounds of the caches; 0 entries or 0 bytes switches a cache off.

    Attributes:
        answer_entries: finished answers kept.
        answer_bytes: their memory, estimated.
        image_entries: prepared pictures kept.
        image_bytes: their memory.
        embedding_entries: vectors of pictures and texts kept, labels of a classification among them.
        embedding_bytes: their memory, estimated.
        region_entries: pictures whose regions, with their features, are kept.
        region_bytes: their memory.
        state_entries: of models that see pictures once for many questions: what they saw, kept.
        state_bytes: its memory; 42 MB a picture for a captioner of BERT-base's size at 384 pixels.
    """

    answer_entries: int = 10_000
    answer_bytes: int = 16 * _MIB
    image_entries: int = 256
    image_bytes: int = 128 * _MIB
    embedding_entries: int = 20_000
    embedding_bytes: int = 64 * _MIB
    region_entries: int = 1000
    region_bytes: int = 128 * _MIB
    state_entries: int = 1000
    state_bytes: int = 512 * _MIB

    def __post_init__(self) -> None:
        faults = _check_at_least(
            "cache",
            {
                "answer_entries": self.answer_entries,
                "answer_bytes": self.answer_bytes,
                "image_entries": self.image_entries,
                "image_bytes": self.image_bytes,
                "embedding_entries": self.embedding_entries,
                "embedding_bytes": self.embedding_bytes,
                "region_entries": self.region_entries,
                "region_bytes": self.region_bytes,
                "state_entries": self.state_entries,
                "state_bytes": self.state_bytes,
            },
            0,
        )
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogSettings:
    """When a model stops counting as ready, and the process as alive.

    Attributes:
        canary_interval_s: how often the canary is run again on a served model; 0 = only at load and after a batch of
            which every item failed.
        stall_after_s: a batch that runs longer makes its model not ready; new requests for it are refused.
        dead_after_s: a batch that runs longer makes `alive` false, so that the process is restarted.
    """

    canary_interval_s: float = 300.0
    stall_after_s: float = 30.0
    dead_after_s: float = 300.0

    def __post_init__(self) -> None:
        faults = _check_at_least("watchdog", {"canary_interval_s": self.canary_interval_s}, 0)
        if not 0 < self.stall_after_s <= self.dead_after_s:
            faults.append(
                f"watchdog.stall_after_s: got {self.stall_after_s}, expected more than 0 and at most "
                f"watchdog.dead_after_s ({self.dead_after_s})"
            )
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings:
    """Collections of pictures, and where they are kept.

    Attributes:
        enabled: whether there are collections, where a served model makes vectors.
        place: a folder, which then belongs to this one process; the URI of a Milvus server, such as http://host:19530,
            or a milvus-lite file *.db; none: vlpserve/collections in the user's data folder.
        reader_threads: searches and other reads of the store at a time.
        writer_threads: calls that write at a time. The local store makes the writes that wait together one commit, with
            one sync, so many small calls need many of these.
        max_rerank: hits of one search that may be looked at again.
        sweep_interval_s: how often pictures are removed that no item refers to.
    """

    enabled: bool = True
    place: str | None = None
    reader_threads: int = 4
    writer_threads: int = 16
    max_rerank: int = 100
    sweep_interval_s: float = 3600.0

    def __post_init__(self) -> None:
        faults = _check_at_least(
            "collections",
            {
                "reader_threads": self.reader_threads,
                "writer_threads": self.writer_threads,
                "max_rerank": self.max_rerank,
                "sweep_interval_s": self.sweep_interval_s,
            },
            1,
        )
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One model to serve.

    Attributes:
        reference: "name" (its latest version), "name@3" or "name@alias".
        repository: folder with model_repository/ and deployments/; None only for the dummy engine, which needs none.
    """

    reference: str
    repository: Path | None = None
    engine: EngineSettings = field(default_factory=EngineSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)

    def __post_init__(self) -> None:
        if self.repository is None and self.engine.engine != "dummy":
            raise ConfigError([f"model {self.reference!r}: no repository; only the dummy engine works without one"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSettings:
    """All that a Service needs to know.

    Attributes:
        models: loaded in this order; the first one is the default model unless `default_model` names another.
        default_model: a name, or name@version, of `models`, for requests that name none.
        engine: of models that are loaded later under a name that none of `models` has; None = as the first model of
            their repository.
        preprocess_threads: threads that decode pictures and tokenise questions.
        max_image_bytes: encoded size of a picture.
        max_image_pixels: width x height of a picture, read from its header before decoding.
        max_image_side: the longer side of a picture in pixels.
        max_text_chars: characters of a question, or of an answer in a closed list.
    """

    models: tuple[ModelSettings, ...]
    default_model: str | None = None
    engine: EngineSettings | None = None
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    collections: CollectionSettings = field(default_factory=CollectionSettings)
    preprocess_threads: int = field(default_factory=usable_cpus)
    max_image_bytes: int = 20 * _MIB
    max_image_pixels: int = 50_000_000
    max_image_side: int = 16384
    max_text_chars: int = 4096

    def __post_init__(self) -> None:
        faults = _check_at_least(
            "core",
            {
                "preprocess_threads": self.preprocess_threads,
                "max_image_bytes": self.max_image_bytes,
                "max_image_pixels": self.max_image_pixels,
                "max_image_side": self.max_image_side,
                "max_text_chars": self.max_text_chars,
            },
            1,
        )
        references = [model.reference for model in self.models]
        if not references:
            faults.append("models: none given; name at least one model to serve")
        faults += [f"models: {name!r} is given twice" for name in sorted(set(references)) if references.count(name) > 1]
        if faults:
            raise ConfigError(faults)
