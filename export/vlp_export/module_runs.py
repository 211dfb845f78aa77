"""The checkpoint itself, run where a graph of it would be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vlp_export.plan import Arrays, GraphPlan


def run_module(graph: GraphPlan, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """The checkpoint's outputs, batch first."""
    with torch.no_grad():
        outputs = graph.module(*(torch.from_numpy(feeds[spec.name]) for spec in graph.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return {spec.name: output.numpy() for spec, output in zip(graph.outputs, outputs, strict=True)}
