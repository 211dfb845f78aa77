"""The graphs of a published deployment, run by onnxruntime as the server runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlp_pipeline.pipeline import Item
from vlp_pipeline.registry import build_pipeline
from vlp_spec.found_deployment import FoundDeployment

from vlp_models.evaluation.batches import Outputs, run_items
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner


class DeploymentGraphs:
    """A deployment with its pipeline; an item is computed by the graph of its role.

    Args:
        found: the deployment.
        batch_size: items a pass.

    Attributes:
        name: name@version.
        pipeline: of its first task.
        roles: of all its graphs. Each is loaded when it is first needed: not every measure needs all of them.

    Raises:
        ArtifactError: it is damaged.
    """

    def __init__(self, found: FoundDeployment, batch_size: int = 64) -> None:
        self.name = f"{found.deployment.name}@{found.deployment.version}"
        self.pipeline: Any = build_pipeline(found.deployment, found.assets_dir)
        self.roles = frozenset(graph.role for graph in found.deployment.graphs)
        self._found = found
        self._runners: dict[str, Runner] = {}
        self._batch_size = batch_size

    def runner(self, role: str) -> Runner:
        """The graph with a role.

        Raises:
            ArtifactError: there is none, or it cannot be loaded.
        """
        if role not in self._runners:
            graph = self._found.deployment.graph(role)
            self._runners[role] = onnx_runner(self._found.layout.graph_file(graph, "model.onnx"))
        return self._runners[role]

    def run(self, items: Sequence[Item]) -> list[Outputs]:
        """Each item's own row of the outputs of its graph; at least one, all of one role. Errors as `runner`."""
        return run_items(items, self.pipeline.collate, self.runner(items[0].role), self._batch_size)

    def run_one(self, item: Item) -> Outputs:
        """The same of a single item."""
        (row,) = self.run([item])
        return row
