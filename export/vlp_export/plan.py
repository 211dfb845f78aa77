"""What a family tells the exporter about one checkpoint and one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn
from vlp_spec.deployment import AxisLimit
from vlp_spec.tensors import TensorSpec

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """One graph to export.

    Attributes:
        role: as in GraphRef.
        module: takes the inputs by position, in the order of `inputs`; returns one tensor, or a tuple in the order of
            `outputs`. In evaluation mode, float32, on the CPU.
        example: arrays to trace with; every dynamic axis at least 2, all of different sizes.
        table_inputs: inputs that only look positions up; products with weights that depend on nothing else stay in
            float32 when the graph is quantised.
    """

    role: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: Mapping[str, np.ndarray]
    table_inputs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """One deployment to export.

    Attributes:
        answer_output: the output whose largest entry is the answer; agreement is counted on it.
        assets: file name -> bytes, for the version's folder.
    """

    family: str
    graph: GraphPlan
    axes: Mapping[str, AxisLimit]
    image: Mapping[str, Any]
    text: Mapping[str, Any]
    answer_output: str
    assets: Mapping[str, bytes] = field(default_factory=dict)
