"""What a family tells the exporter about one checkpoint and one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import nn
from vlp_pipeline.label_scores import TRUE_LABEL
from vlp_spec.deployment import AxisLimit
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

from vlp_export.operators import STANDARD_OPERATORS

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
        plain_attention: attention becomes products and a softmax, see PlainAttention, instead of what torch's exporter
            makes of it.
    """

    role: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: Mapping[str, np.ndarray]
    table_inputs: frozenset[str] = frozenset()
    plain_attention: bool = False


TRUTH_LABELS = ["false", TRUE_LABEL]
"""Of the two outputs of every NLVR2 and every ITM head, UNITER's and ViLT's; checkpoints do not tell them."""


class AnswerRule(Protocol):
    """What counts as the answer of each sample, so that graph and checkpoint can be compared by it."""

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the outputs that it reads."""
        ...

    def answers(self, rows: Sequence[Arrays]) -> list[int]:
        """A number for each sample, from the outputs of all graphs for it, without the batch axis."""
        ...


@dataclass(frozen=True, slots=True)
class LargestEntry:
    """The place of the largest entry of an output, or of the part of it at an index: of one text among several."""

    output: str
    index: tuple[int, ...] = ()

    @property
    def outputs(self) -> frozenset[str]:
        """See AnswerRule."""
        return frozenset((self.output,))

    def answers(self, rows: Sequence[Arrays]) -> list[int]:
        """One for each sample; see AnswerRule."""
        return [int(np.argmax(row[self.output][self.index])) for row in rows]


@dataclass(frozen=True, slots=True)
class BestMatch:
    """Which sample's text fits a sample's picture best, among all of them: what a search over them would find."""

    image_output: str
    text_output: str

    @property
    def outputs(self) -> frozenset[str]:
        """See AnswerRule."""
        return frozenset((self.image_output, self.text_output))

    def answers(self, rows: Sequence[Arrays]) -> list[int]:
        """One for each sample; see AnswerRule."""
        images = np.stack([row[self.image_output] for row in rows]).astype(np.float64)
        texts = np.stack([row[self.text_output] for row in rows]).astype(np.float64)
        return [int(index) for index in np.argmax(images @ texts.T, axis=1)]


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """One deployment to export.

    Attributes:
        tasks: what it offers; the first one chooses the pipeline.
        graphs: one for each role; names of inputs and outputs are of one graph alone.
        answer: what agreement is counted on.
        assets: file name -> bytes, for the version's folder.
        head: as in Deployment.
        operators: what the float32 graphs may hold.
        formats: what they can be made of.
    """

    family: str
    tasks: tuple[Task, ...]
    graphs: tuple[GraphPlan, ...]
    axes: Mapping[str, AxisLimit]
    image: Mapping[str, Any]
    text: Mapping[str, Any]
    answer: AnswerRule
    assets: Mapping[str, bytes] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    operators: frozenset[str] = STANDARD_OPERATORS
    formats: tuple[str, ...] = ("onnx", "tensorrt")
