"""What was asked by this protocol, counted as Triton's statistics extension has it: perf_analyzer reads it.

A row adds its share of the batch that it was computed in to `execution_count`; tasks of other doors fill batches, too,
and are not counted here. The server's own figures are at /metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlp_server.core.hosted_models import HostedModel
from vlp_server.core.records import Timings

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


@dataclass(slots=True)
class _Duration:
    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class _Batches:
    """Batches of one size; a row is a part of one."""

    count: float = 0.0
    infer_ns: float = 0.0


@dataclass(slots=True)
class _Counts:
    last_ms: int = 0
    rows: int = 0
    executions: float = 0.0
    durations: dict[str, _Duration] = field(
        default_factory=lambda: {
            name: _Duration()
            for name in (
                "success",
                "fail",
                "queue",
                "compute_input",
                "compute_infer",
                "compute_output",
                "cache_hit",
                "cache_miss",
            )
        }
    )
    batches: dict[int, _Batches] = field(default_factory=dict)


class Statistics:
    """Counts by model and version. Belongs to the event loop.

    Args:
        wall_clock: seconds since 1970.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._counts: dict[tuple[str, int], _Counts] = {}

    def succeeded(self, hosted: HostedModel, total_s: float, timings: Timings, batches: Sequence[int]) -> None:
        """Count an answered request.

        Args:
            batches: of each row, the size of its batch.
        """
        counts = self._counts.setdefault((hosted.name, hosted.version), _Counts())
        counts.last_ms = int(self._wall_clock() * 1000)
        counts.rows += len(batches)
        counts.durations["success"].add(int(total_s * _NS_PER_S))
        stages = {
            "queue": timings.queue_ms,
            "compute_input": timings.preprocess_ms,
            "compute_infer": timings.infer_ms,
            "compute_output": timings.postprocess_ms,
        }
        for name, duration_ms in stages.items():
            counts.durations[name].add(int(duration_ms * _NS_PER_MS))
        for size in batches:
            counts.executions += 1 / size
            batch = counts.batches.setdefault(size, _Batches())
            batch.count += 1 / size
            batch.infer_ns += timings.infer_ms * _NS_PER_MS / size

    def failed(self, hosted: HostedModel, total_s: float) -> None:
        """Count a request that a model was found for, and that got no answer."""
        counts = self._counts.setdefault((hosted.name, hosted.version), _Counts())
        counts.durations["fail"].add(int(total_s * _NS_PER_S))

    def document(self, hosted: HostedModel) -> dict[str, Any]:
        """One model's statistics."""
        counts = self._counts.get((hosted.name, hosted.version), _Counts())
        return {
            "name": hosted.name,
            "version": str(hosted.version),
            "last_inference": counts.last_ms,
            "inference_count": counts.rows,
            "execution_count": round(counts.executions),
            "inference_stats": {name: duration.document() for name, duration in counts.durations.items()},
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": {"count": round(batch.count), "ns": 0},
                    "compute_infer": {"count": round(batch.count), "ns": int(batch.infer_ns)},
                    "compute_output": {"count": round(batch.count), "ns": 0},
                }
                for size, batch in sorted(counts.batches.items())
            ],
        }
