"""Every shipped graph gives by the protocol what it was published with, padded in batches or alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from oip_rig import OipServer
from triton_tensors import canary, numbers
from vlp_pipeline.generative import DECODER_ROLE
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_spec.deployment import GraphRef
from vlp_spec.found_deployment import find_deployment
from vlp_zoo import zoo_path

REPOSITORY = Path(zoo_path()) / "repository"
NAMES = sorted(path.name for path in (REPOSITORY / "deployments").iterdir())
GRAPHS = [
    (name, graph)
    for name in NAMES
    for graph in find_deployment(REPOSITORY, name).deployment.graphs
    if graph.role != DECODER_ROLE
]
TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def client() -> Iterator[triton.InferenceServerClient]:
    engine = EngineSettings(threads=1)
    models = tuple(ModelSettings(reference=name, repository=REPOSITORY, engine=engine) for name in NAMES)
    settings = CoreSettings(models=models)
    with OipServer(settings, 64 * 1024 * 1024) as server, triton.InferenceServerClient(server.address) as client:
        yield client


@pytest.mark.parametrize(("model", "graph"), GRAPHS, ids=[graph.name for _, graph in GRAPHS])
def test_a_graph_gives_what_it_was_published_with(
    model: str, graph: GraphRef, client: triton.InferenceServerClient
) -> None:
    inputs, outputs = canary(model, [spec.name for spec in graph.inputs])
    rows = len(next(iter(inputs.values())))
    together = client.get_model_config(graph.name).config.max_batch_size >= rows
    for part in [slice(None)] if together else [slice(row, row + 1) for row in range(rows)]:
        tensors: list[Any] = numbers(triton, {name: array[part] for name, array in inputs.items()})
        result = client.infer(graph.name, tensors)
        for spec in graph.outputs:
            got, expected = result.as_numpy(spec.name), outputs[spec.name][part]
            np.testing.assert_allclose(got, expected.reshape(got.shape), atol=TOLERANCE)


def test_no_decoder_is_served(client: triton.InferenceServerClient) -> None:
    served = {one.name for one in client.get_model_repository_index().models}
    assert {graph.name for _, graph in GRAPHS} <= served
    assert not any("decoder" in name for name in served)
