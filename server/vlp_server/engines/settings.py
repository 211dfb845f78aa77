"""How an engine runs one model: threads, memory, device. Knows nothing of batching or of requests."""

from __future__ import annotations

from dataclasses import dataclass

from vlp_spec.errors import ConfigError

PROVIDERS = ("cpu", "cuda", "tensorrt")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits and device of one model's engine.

    Attributes:
        engine: a name of `engines.registry` ("onnx", "dummy").
        providers: where the onnx engine computes, in order of preference: "cpu", "cuda", "tensorrt".
        device_id: which GPU, for "cuda" and "tensorrt".
        threads: threads inside one operator; 0 = every CPU that this process may run on.
        workers: batches of this model that may be computed at the same time. 2 lets one batch be put together while
            another is computed; on a CPU they then share the cores.
        memory_limit_bytes: refuse to load a model that is expected to need more; 0 = only what the machine has free.
        memory_arena: let onnxruntime keep freed memory for the next batch: faster, and the process then keeps the
            memory of the largest batch so far.
        spinning: let idle threads of the engine spin instead of sleeping: lower latency, but it takes CPU time away
            from picture decoding and from the event loop when cores are few.
        dummy_latency_s: how long the dummy engine takes for a batch, seconds.
    """

    engine: str = "onnx"
    providers: tuple[str, ...] = ("cpu",)
    device_id: int = 0
    threads: int = 0
    workers: int = 1
    memory_limit_bytes: int = 0
    memory_arena: bool = True
    spinning: bool = False
    dummy_latency_s: float = 0.0

    def __post_init__(self) -> None:
        faults = [
            f"{name}: got {value}, expected {low} or more"
            for name, value, low in (
                ("device_id", self.device_id, 0),
                ("threads", self.threads, 0),
                ("workers", self.workers, 1),
                ("memory_limit_bytes", self.memory_limit_bytes, 0),
                ("dummy_latency_s", self.dummy_latency_s, 0),
            )
            if value < low
        ]
        if unknown := [name for name in self.providers if name not in PROVIDERS]:
            faults.append(f"providers: {', '.join(unknown)} is none of {', '.join(PROVIDERS)}")
        if not self.providers:
            faults.append(f"providers: empty, expected at least one of {', '.join(PROVIDERS)}")
        if faults:
            raise ConfigError(faults)
