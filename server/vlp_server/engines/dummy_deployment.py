"""The dummy deployment: a manifest in memory that needs no file, so that `serve dummy` works anywhere."""

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
DUMMY_LABELS = ("yes", "no", "red", "green", "blue", "one", "two", "three", "cat", "dog", "left", "right")
CELL_BYTES = 3
_MAX_TEXT = 512
_MAX_PATCHES = 256


def build_dummy_deployment(name: str) -> Deployment:
    """A deployment with the tensors of a ViLT, of which a patch is the mean colour of a cell of the picture."""
    graph = GraphRef(
        role="fusion",
        name=name,
        version=1,
        backend="dummy",
        files={},
        inputs=(
            TensorSpec("patches", "uint8", ("batch", "patches", CELL_BYTES)),
            TensorSpec("grid", "int32", ("batch", 2)),
            TensorSpec("input_ids", "int32", ("batch", "text")),
            TensorSpec("text_mask", "int32", ("batch", "text")),
        ),
        outputs=(TensorSpec("logits", "float32", ("batch", len(DUMMY_LABELS))),),
    )
    return Deployment(
        name=name,
        version=1,
        family=DUMMY_FAMILY,
        tasks=(Task.VQA,),
        precision="fp32",
        graphs=(graph,),
        image={"type": DUMMY_FAMILY},
        text={"type": DUMMY_FAMILY, "max_length": _MAX_TEXT},
        axes={
            "batch": AxisLimit(1, 8, 64),
            "text": AxisLimit(1, 16, _MAX_TEXT),
            "patches": AxisLimit(1, 64, _MAX_PATCHES),
        },
        assets={},
        proof=Proof(outputs=(OutputProof("logits", 0.0, 0.0, 0.0, 0.0),), samples=1, agreement=1.0, min_agreement=1.0),
        canary_tolerance=0.0,
        source={"id": DUMMY_FAMILY},
        producers={},
        created="1970-01-01T00:00:00Z",
    )


def build_dummy_canary(deployment: Deployment) -> tuple[Feeds, Outputs]:
    """Inputs and the outputs that an undisturbed dummy engine gives for them."""
    feeds: Feeds = {
        "patches": np.arange(2 * 4 * CELL_BYTES, dtype=np.uint8).reshape(2, 4, CELL_BYTES),
        "grid": np.array([[2, 2], [1, 4]], dtype=np.int32),
        "input_ids": np.array([[5, 6, 7], [8, 9, 0]], dtype=np.int32),
        "text_mask": np.array([[1, 1, 1], [1, 1, 0]], dtype=np.int32),
    }
    engine = DummyEngine(EngineSettings(engine="dummy"))
    engine.load(LoadedGraph("canary", deployment.graphs[0], Path(), deployment.axes))
    return feeds, engine.run("canary", feeds)
