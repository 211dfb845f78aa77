"""Where the time of an answer went, as every door tells its caller."""

from __future__ import annotations

from vlp_server.core.records import Timings


def stages_of(timings: Timings) -> dict[str, float]:
    """Stage -> milliseconds, rounded to a tenth; those of regions and of the store only where there are any."""
    stages = {
        "queue": timings.queue_ms,
        "preprocess": timings.preprocess_ms,
        "infer": timings.infer_ms,
        "postprocess": timings.postprocess_ms,
        "cache": timings.cache_ms,
    }
    if timings.regions_ms:
        stages |= {"regions": timings.regions_ms}
    if timings.store_ms:
        stages |= {"store": timings.store_ms, "rerank": timings.rerank_ms}
    return {name: round(duration_ms, 1) for name, duration_ms in stages.items()}


def server_timing(timings: Timings | None, total_ms: float) -> str:
    """The text of Server-Timing: the stages where there are any, and the total, in milliseconds."""
    if timings is None:
        return f"total;dur={total_ms}"
    entries = [f"{name};dur={duration_ms}" for name, duration_ms in stages_of(timings).items()]
    return ", ".join([*entries, f'batch;desc="{timings.batch_items}"', f"total;dur={total_ms}"])
