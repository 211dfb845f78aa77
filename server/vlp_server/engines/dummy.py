"""The dummy engine: a real engine of the product without a model, for tests and for `serve dummy`.

Outputs are a pure function of each row's own content, so batching, padding and neighbours cannot change them, and a
test can say beforehand what the answer is. Magic values in an int32 input make a row misbehave.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generative import DECODER_ROLE
from vlp_spec.errors import InternalError
from vlp_spec.tensors import TensorSpec

from vlp_server.engines.base import Feeds, LoadedGraph, Outputs
from vlp_server.engines.dummy_decoder import decode
from vlp_server.engines.settings import EngineSettings

FAIL_TOKEN = 2_000_000_001
NAN_TOKEN = 2_000_000_002
STALL_TOKEN = 2_000_000_003
POISON_TOKEN = 2_000_000_004


class DummyFailure(RuntimeError):
    """What a run-time library raises on a bad batch; on purpose no VlpError."""


class DummyEngine:
    """Answers from a hash of the inputs.

    A batch with FAIL_TOKEN raises; a row with NAN_TOKEN gives NaN in that row; POISON_TOKEN gives NaN in every row of
    its batch, as a scale shared by a batch would; STALL_TOKEN blocks the batch until `release` or `close`.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._latency_s = settings.dummy_latency_s
        self._graphs: dict[str, LoadedGraph] = {}
        self._closed = threading.Event()
        self._released = threading.Event()
        self.stalled = threading.Event()
        """Set as soon as a batch has met STALL_TOKEN; for tests that wait for it."""

    def load(self, graph: LoadedGraph) -> None:
        """See Engine."""
        self._graphs[graph.key] = graph

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Engine."""
        graph = self._graphs.get(key)
        if graph is None:
            raise InternalError(detail=f"dummy engine: no graph {key!r} is loaded")
        if self._latency_s > 0:
            self._closed.wait(self._latency_s)
        if _has(feeds, STALL_TOKEN).any():
            self.stalled.set()
            self._released.wait()
        if self._closed.is_set():
            raise InternalError(detail="dummy engine: closed")
        if _has(feeds, FAIL_TOKEN).any():
            raise DummyFailure("a row holds the token that makes this engine fail")
        if graph.ref.role == DECODER_ROLE:
            (logits,) = (spec for spec in graph.ref.outputs if spec.name == "logits")
            outputs = decode(feeds, int(logits.shape[-1]))
        else:
            outputs = {spec.name: _outputs_of(spec, feeds) for spec in graph.ref.outputs}
        broken = _has(feeds, NAN_TOKEN) | _has(feeds, POISON_TOKEN).any()
        for array in outputs.values():
            if array.dtype.kind == "f":
                array[broken] = np.nan
        return outputs

    def release(self) -> None:
        """Let stalled batches go on, and later ones pass."""
        self._released.set()

    def unload(self, key: str) -> None:
        """See Engine."""
        self._graphs.pop(key, None)

    def ready(self, key: str) -> bool:
        """See Engine."""
        return key in self._graphs

    def close(self) -> None:
        """See Engine."""
        self._closed.set()
        self._released.set()
        self._graphs.clear()


def _has(feeds: Feeds, token: int) -> NDArray[np.bool_]:
    """(batch,) bool: which rows hold `token` in any of their int32 inputs."""
    rows = len(next(iter(feeds.values())))
    found = np.zeros(rows, dtype=np.bool_)
    for array in feeds.values():
        if array.dtype == np.int32:
            found |= (array.reshape(rows, -1) == token).any(axis=1)
    return found


def _outputs_of(spec: TensorSpec, feeds: Feeds) -> NDArray[Any]:
    """(batch, ...) in the spec's dtype; named axes take their size from 1, as the dummy has no sequence outputs."""
    rows = len(next(iter(feeds.values())))
    shape = tuple(size if isinstance(size, int) else 1 for size in spec.shape[1:])
    values = [_row_values(spec, feeds, row, shape) for row in range(rows)]
    return np.stack(values).astype(spec.dtype)


def _row_values(spec: TensorSpec, feeds: Feeds, row: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values between -8 and 8 from a hash of one row.

    Padding is zeros after the last valid entry of axis 1; trailing zeros are cut off before hashing, so a row gives the
    same values alone and padded in a batch.
    """
    digest = hashlib.sha256(spec.name.encode())
    for name in sorted(feeds):
        content = np.ascontiguousarray(feeds[name][row]).tobytes().rstrip(b"\0")
        digest.update(f"{name}:{len(content)}:".encode())
        digest.update(content)
    generator = np.random.default_rng(int.from_bytes(digest.digest()[:8], "little"))
    return generator.uniform(-8, 8, size=shape).astype(np.float32)
