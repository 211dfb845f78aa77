"""The triton engine over servers that play Triton, with a graph that doubles its input."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
from service_rig import until
from triton_standin import Call, Fault, TritonStandIn
from vlp_server.core.canary import Canary
from vlp_server.engines.base import CallTerms, HostedModel, LoadedGraph, Runner, TaskCall
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton import TritonEngine
from vlp_spec.deployment import GraphRef
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

KEY = "m@1/fusion"
FEEDS = {"x": np.array([[1, 2]], np.int32)}
TERMS = CallTerms(timeout_s=10.0)
VQA = TaskCall(Task.VQA, "m", 4, [b"picture"], ["wie viele Kühe ?", "b"], {"top_k": 2, "answers": ["ja", "né"]})
SECRET_FILE = Path(__file__).with_name("control_secret.txt")
SPECS = (TensorSpec("x", "int32", ("batch", 2)),), (TensorSpec("y", "float32", ("batch", 2)),)
GRAPH = LoadedGraph(KEY, GraphRef("fusion", "g", 1, "onnxruntime", {}, *SPECS), Path(), {})


def doubled(call: Call) -> dict[str, np.ndarray]:
    return {"y": call.inputs["x"] * np.float32(2)}


def prove(runner: Runner) -> None:
    """By a canary as the core has it."""
    Canary(FEEDS, {"y": np.array([[2, 4]], np.float32)}, tolerance=1e-6).check(runner, KEY)


@contextlib.asynccontextmanager
async def attached(
    *servers: TritonStandIn, ready: bool = True, task_models: tuple[HostedModel, ...] = (), **settings: object
) -> AsyncIterator[TritonEngine]:
    """An engine over servers; `triton_control_secret_file` is any file where it manages models."""
    urls = tuple(server.url for server in servers)
    if settings.get("triton_manage"):
        settings.setdefault("triton_control_secret_file", SECRET_FILE)
    engine = TritonEngine(EngineSettings(engine="triton", triton_urls=urls, **settings))
    engine.load(GRAPH)
    engine.attach(asyncio.get_running_loop(), prove, task_models)
    try:
        if ready:
            await until(lambda: len(engine._servers) == len(servers) and all(one.up for one in engine._servers))
        for server in servers:
            server.calls.clear()
        yield engine
    finally:
        engine.close()
        await asyncio.sleep(0)
        await asyncio.gather(*engine._watching, return_exceptions=True)
        await asyncio.gather(*engine._closing)


def calls(*servers: TritonStandIn) -> list[int]:
    return [len(server.calls) for server in servers]


def wrong(call: Call) -> dict[str, np.ndarray]:
    return {"y": call.inputs["x"] * np.float32(3)}


def failing(status: str, message: str) -> Callable[[Call], dict[str, np.ndarray]]:
    def answer(call: Call) -> dict[str, np.ndarray]:
        raise Fault(status, message)

    return answer
