"""Small staged deployments, shared by the tests of publication."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vlp_export.publish import StagedDeployment, StagedGraph
from vlp_export.staging import staging_folder
from vlp_export.triton_config import GraphInterface
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

# Tests are imported one by one, not as packages.
sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

INTERFACE = GraphInterface(
    inputs=(TensorSpec("grid", "int32", ("batch", 2)), TensorSpec("input_ids", "int32", ("batch", "text"))),
    outputs=(TensorSpec("logits", "float32", ("batch", 3)),),
    max_batch_size=8,
)


def make_deployment(name: str, version: int, graph: str = "tiny-fp32") -> Deployment:
    return Deployment(
        name=name,
        version=version,
        family="vilt",
        tasks=(Task.VQA,),
        precision="fp32",
        graphs=(
            GraphRef("fusion", graph, version, "onnxruntime", {}, tuple(INTERFACE.inputs), tuple(INTERFACE.outputs)),
        ),
        image={},
        text={},
        axes={"batch": AxisLimit(1, 1, 8)},
        assets={},
        proof=Proof((OutputProof("logits", 0.0, 0.0, 1e-4, 1e-4),), 1, 1.0, 1.0),
        canary_tolerance=1e-3,
        source={},
        producers={},
        created="2026-01-01T00:00:00+00:00",
    )


def stage(staging: Path, name: str = "tiny", graph: str = "tiny-fp32", content: bytes = b"graph") -> StagedDeployment:
    """Write a graph and an asset into a staging folder."""
    graph_folder, assets = staging / "graph", staging / "assets"
    graph_folder.mkdir()
    assets.mkdir()
    (graph_folder / "model.onnx").write_bytes(content)
    (assets / "labels.json").write_text('["a"]')
    staged = StagedGraph(graph, "onnxruntime", graph_folder, INTERFACE)
    return StagedDeployment(name, staging, (staged,), assets, lambda version: make_deployment(name, version, graph))


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[StagedDeployment]:
    """A deployment in a staging folder of the repository tmp_path."""
    with staging_folder(tmp_path) as folder:
        yield stage(folder)
