"""The service's figures for Prometheus, in a registry of its own. No label ever holds text that a caller sent."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vlp_server.core.records import Timings
from vlp_server.core.running_texts import TextToWrite
from vlp_server.core.scheduler import Batch, DropReason

UNKNOWN_MODEL = "unknown"
SUCCESS = "ok"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64)
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)


class Metrics:
    """All metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=self.registry)
        gauge = functools.partial(Gauge, registry=self.registry)
        histogram = functools.partial(Histogram, registry=self.registry)
        self.requests = counter(
            "vlpserve_requests",
            "Requests by outcome: ok, or the kind of the error",
            ["model", "task", "outcome"],
        )
        self.stage_seconds = histogram(
            "vlpserve_stage_seconds",
            "Time of answered requests by stage; total is the whole request",
            ["model", "task", "stage"],
            buckets=_SECONDS,
        )
        self.requests_inside = gauge("vlpserve_requests_inside", "Requests inside the service")
        self.batch_items = histogram(
            "vlpserve_batch_items",
            "Items of a batch; texts side by side of a decoder",
            ["model", "role"],
            buckets=_ITEMS,
        )
        self.padding_waste = histogram(
            "vlpserve_padding_waste_ratio",
            "Share of a batch's area that is padding",
            ["model", "role"],
            buckets=_SHARES,
        )
        self.queue_items = gauge("vlpserve_queue_items", "Items that wait", ["model", "role"])
        self.queue_cost = gauge(
            "vlpserve_queue_cost",
            "Text tokens and patches of the items that wait",
            ["model", "role"],
        )
        self.cache = counter("vlpserve_cache", "Look-ups by result", ["cache", "result"])
        self.dropped = counter(
            "vlpserve_dropped_items",
            "Items that left the queue without costing compute, and texts that left before their end",
            ["model", "role", "reason"],
        )
        self.failed_items = counter("vlpserve_failed_items", "Items that failed", ["model", "role"])
        self.worker_crashes = counter("vlpserve_worker_crashes", "Batches lost to a fault of ours", ["model", "role"])
        self.embedded = counter(
            "vlpserve_embedded_items",
            "Pictures and texts that the model made a vector of; cached ones are not among them",
            ["model", "role", "lane"],
        )
        self.tokens = counter(
            "vlpserve_written_tokens",
            "Tokens that the model has written, of the best text of each request",
            ["model"],
        )
        self.canary = counter("vlpserve_canary", "Canary runs by result", ["model", "result"])
        self.model_ready = gauge("vlpserve_model_ready", "1 when the model answers", ["model"])
        self.place_up = gauge(
            "vlpserve_engine_address_up",
            "1 when the model's graphs are asked at this address; of engines elsewhere",
            ["model", "address"],
        )

    def count_request(self, model: str, task: str, outcome: str) -> None:
        """Count a request that has ended; `outcome` is "ok", an ErrorKind or "cancelled"."""
        self.requests.labels(model, task, outcome).inc()

    def observe_timings(self, model: str, task: str, timings: Timings, total_s: float) -> None:
        """Note where the time of an answered request went."""
        stages = {
            "queue": timings.queue_ms,
            "preprocess": timings.preprocess_ms,
            "regions": timings.regions_ms,
            "infer": timings.infer_ms,
            "postprocess": timings.postprocess_ms,
            "cache": timings.cache_ms,
            "store": timings.store_ms,
            "rerank": timings.rerank_ms,
            "total": total_s * 1000.0,
        }
        for stage, milliseconds in stages.items():
            self.stage_seconds.labels(model, task, stage).observe(milliseconds / 1000.0)

    def forget_model(self, model: str, roles: Sequence[str], places: Iterable[str] = ()) -> None:
        """Drop the gauges of a model that is served no more; what was counted stays."""
        for address in places:
            with contextlib.suppress(KeyError):  # never written
                self.place_up.remove(model, address)
        self.model_ready.remove(model)
        for role in roles:
            self.queue_items.remove(model, role)
            self.queue_cost.remove(model, role)

    def count_lookup(self, cache: str, *, hit: bool) -> None:
        """Count a look-up in a cache."""
        self.cache.labels(cache, "hit" if hit else "miss").inc()


class ModelObserver:
    """A batcher's BatchObserver, and a decoder's DecoderObserver: writes the figures of one graph.

    Args:
        model: "name@version".
        role: of the graph.
    """

    def __init__(self, metrics: Metrics, model: str, role: str) -> None:
        self._metrics = metrics
        self._labels = model, role
        self.all_failed = False
        """Whether a batch has failed as a whole since this was last cleared; the watchdog then asks the canary."""

    def queue_changed(self, items: int, cost: int) -> None:
        """See BatchObserver."""
        self._metrics.queue_items.labels(*self._labels).set(items)
        self._metrics.queue_cost.labels(*self._labels).set(cost)

    def batch_started(self, batch: Batch) -> None:
        """See BatchObserver."""
        self._metrics.batch_items.labels(*self._labels).observe(len(batch.items))
        self._metrics.padding_waste.labels(*self._labels).observe(batch.padding_waste)

    def batch_finished(self, items: int, failed: int) -> None:
        """See BatchObserver."""
        self._metrics.failed_items.labels(*self._labels).inc(failed)
        self.all_failed |= failed == items

    def item_dropped(self, reason: DropReason) -> None:
        """See BatchObserver."""
        self._metrics.dropped.labels(*self._labels, reason).inc()

    def worker_crashed(self) -> None:
        """See BatchObserver."""
        self._metrics.worker_crashes.labels(*self._labels).inc()

    def round_done(self, joined: Sequence[TextToWrite], left: Sequence[TextToWrite], rows: int, tokens: int) -> None:
        """See DecoderObserver."""
        if rows:
            self._metrics.batch_items.labels(*self._labels).observe(rows)
        self._metrics.tokens.labels(self._labels[0]).inc(tokens)

    def waiting_changed(self, items: int, cost: int) -> None:
        """See DecoderObserver."""
        self.queue_changed(items, cost)

    def text_dropped(self, reason: DropReason) -> None:
        """See DecoderObserver."""
        self.item_dropped(reason)

    def round_failed(self, texts: int, failed: int) -> None:
        """See DecoderObserver."""
        self.batch_finished(texts, failed)
