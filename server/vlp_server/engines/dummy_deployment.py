"""The dummy deployments: manifests in memory that need no file, so that `serve dummy` works anywhere.

There is one of each kind of model: "dummy" answers questions, "dummy-encoder" makes vectors of pictures and of texts,
"dummy-matcher" says how well a text fits a picture. Any name with such an ending is a further one of its kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

from vlp_server.engines.base import Feeds, LoadedGraph, Outputs
from vlp_server.engines.dummy import DummyEngine
from vlp_server.engines.settings import EngineSettings

DUMMY_FAMILY = "dummy"
DUMMY_NAMES = ("dummy", "dummy-encoder", "dummy-matcher")
DUMMY_LABELS = ("yes", "no", "red", "green", "blue", "one", "two", "three", "cat", "dog", "left", "right")
DUMMY_DIMENSION = 16
CELL_BYTES = 3
_MAX_TEXT = 512
_MAX_PATCHES = 256
_PICTURE = (
    TensorSpec("patches", "uint8", ("batch", "patches", CELL_BYTES)),
    TensorSpec("grid", "int32", ("batch", 2)),
)
_TEXT = (TensorSpec("input_ids", "int32", ("batch", "text")), TensorSpec("text_mask", "int32", ("batch", "text")))


def build_dummy_deployment(name: str) -> Deployment:
    """A deployment of the kind that the name ends with; a patch is the mean colour of a cell of the picture."""
    if name.endswith("-encoder"):
        tasks: tuple[Task, ...] = (Task.EMBEDDINGS, Task.CLASSIFY)
        graphs: tuple[GraphRef, ...] = (
            _graph(name, "image", _PICTURE, _output("image_embeds", DUMMY_DIMENSION)),
            _graph(name, "text", _TEXT, _output("text_embeds", DUMMY_DIMENSION)),
        )
    elif name.endswith("-matcher"):
        tasks = (Task.MATCH,)
        graphs = (_graph(name, "fusion", _PICTURE + _TEXT, _output("itm", 1)),)
    else:
        tasks = (Task.VQA,)
        graphs = (_graph(name, "fusion", _PICTURE + _TEXT, _output("logits", len(DUMMY_LABELS))),)
    return Deployment(
        name=name,
        version=1,
        family=DUMMY_FAMILY,
        tasks=tasks,
        precision="fp32",
        graphs=graphs,
        image={"type": DUMMY_FAMILY},
        text={"type": DUMMY_FAMILY, "max_length": _MAX_TEXT},
        axes={
            "batch": AxisLimit(1, 8, 64),
            "text": AxisLimit(1, 16, _MAX_TEXT),
            "patches": AxisLimit(1, 64, _MAX_PATCHES),
        },
        assets={},
        proof=Proof(
            outputs=tuple(OutputProof(spec.name, 0.0, 0.0, 0.0, 0.0) for graph in graphs for spec in graph.outputs),
            samples=1,
            agreement=1.0,
            min_agreement=1.0,
        ),
        canary_tolerance=0.0,
        source={"id": DUMMY_FAMILY},
        producers={},
        created="1970-01-01T00:00:00Z",
    )


def build_dummy_canary(deployment: Deployment) -> tuple[Feeds, Outputs]:
    """Inputs and the outputs that an undisturbed dummy engine gives for them, of all graphs together."""
    feeds: Feeds = {
        "patches": np.arange(2 * 4 * CELL_BYTES, dtype=np.uint8).reshape(2, 4, CELL_BYTES),
        "grid": np.array([[2, 2], [1, 4]], dtype=np.int32),
        "input_ids": np.array([[5, 6, 7], [8, 9, 0]], dtype=np.int32),
        "text_mask": np.array([[1, 1, 1], [1, 1, 0]], dtype=np.int32),
    }
    engine = DummyEngine(EngineSettings(engine="dummy"))
    outputs: Outputs = {}
    for graph in deployment.graphs:
        engine.load(LoadedGraph(graph.role, graph, Path(), deployment.axes))
        outputs |= engine.run(graph.role, {spec.name: feeds[spec.name] for spec in graph.inputs})
    return feeds, outputs


def _graph(name: str, role: str, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> GraphRef:
    return GraphRef(role=role, name=name, version=1, backend="dummy", files={}, inputs=inputs, outputs=(output,))


def _output(name: str, size: int) -> TensorSpec:
    return TensorSpec(name, "float32", ("batch", size))
