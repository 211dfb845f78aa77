"""How an engine runs one model: threads, memory, device. Knows nothing of batching or of requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vlp_spec.errors import ConfigError

PROVIDERS = ("cpu", "cuda", "tensorrt")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits and device of one model's engine.

    Attributes:
        engine: a name of `engines.registry` ("onnx", "triton", "dummy").
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
        triton_urls: gRPC addresses of Triton servers, host:port; each must hold all the models.
        triton_connections: calls of one model that are under way at Triton at a time; more wait here.
        triton_manage: load and unload models on Triton servers that are in explicit mode; needs
            triton_control_secret_file.
        triton_control_secret_file: file with the secret that opens model control on the Triton servers, the one that
            `vlpserve triton --explicit` was given.
        triton_ca_file: certificate authority that signed the TLS certificate of Triton's gRPC port, PEM: the gateway
            then speaks TLS, and refuses a server whose certificate it did not sign; none: no TLS.
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
    triton_urls: tuple[str, ...] = ()
    triton_connections: int = 64
    triton_manage: bool = False
    triton_control_secret_file: Path | None = None
    triton_ca_file: Path | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{name}: got {value}, expected {low} or more"
            for name, value, low in (
                ("device_id", self.device_id, 0),
                ("threads", self.threads, 0),
                ("workers", self.workers, 1),
                ("memory_limit_bytes", self.memory_limit_bytes, 0),
                ("dummy_latency_s", self.dummy_latency_s, 0),
                ("triton_connections", self.triton_connections, 1),
            )
            if value < low
        ]
        if unknown := [name for name in self.providers if name not in PROVIDERS]:
            faults.append(f"providers: {', '.join(unknown)} is none of {', '.join(PROVIDERS)}")
        faults += [f"triton_urls: got {url!r}, expected host:port" for url in self.triton_urls if not _ADDRESS(url)]
        if self.engine == "triton" and not self.triton_urls:
            faults.append("triton_urls: empty; name at least one Triton server, such as localhost:8001")
        if self.engine == "triton" and self.triton_manage and self.triton_control_secret_file is None:
            faults.append(
                "triton_control_secret_file: not set; triton_manage needs the secret that opens model control on Triton"
            )
        if not self.providers:
            faults.append(f"providers: empty, expected at least one of {', '.join(PROVIDERS)}")
        if faults:
            raise ConfigError(faults)
