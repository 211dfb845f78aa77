"""The deployment manifest: what makes a model, and the proof that its graphs are the checkpoint.

It lies at `deployments/<name>/<version>.json` of a repository, beside the folder `<version>/` with its assets
(tokenizer.json, labels.json, canary.npz). Graphs lie in `model_repository/<graph>/<version>/`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

SCHEMA_VERSION = 1
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_name(name: str) -> str:
    """Return `name` when it is safe as a model name and a folder name.

    Raises:
        ArtifactError: it is empty, longer than 128 characters, has a slash, or starts with a dot.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ArtifactError(f"name {name!r}: letters, digits, '.', '_' and '-' only, starting with a letter or digit")
    return name


@dataclass(frozen=True, slots=True)
class GraphRef:
    """A graph of the model repository that this deployment uses.

    Attributes:
        role: what the family calls it ("fusion" for ViLT's single graph).
        name: folder under model_repository/.
        version: numeric version folder.
        backend: "onnxruntime", "tensorrt" or "python".
        files: path relative to model_repository/<name>/ -> sha256 in hex.
    """

    role: str
    name: str
    version: int
    backend: str
    files: dict[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class OutputProof:
    """How far one output of a graph is from the checkpoint's own.

    Attributes:
        max_abs_diff: max |graph - torch| over the proof's samples.
        max_batch_diff: max |alone - padded in a batch| of the graph itself.
        tolerance: the bound that `max_abs_diff` met.
        batch_tolerance: the bound that `max_batch_diff` met.
    """

    output: str
    max_abs_diff: float
    max_batch_diff: float
    tolerance: float
    batch_tolerance: float


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence that the published graphs compute what the checkpoint does.

    Attributes:
        samples: how many random or real samples were compared.
        agreement: share of samples on which graph and checkpoint give the same answer, 0 to 1.
        min_agreement: the bound that `agreement` met.
    """

    outputs: tuple[OutputProof, ...]
    samples: int
    agreement: float
    min_agreement: float

    def holds(self) -> bool:
        """Whether every figure is within its bound; a NaN is not, and an infinite bound is none."""
        return (
            bool(self.outputs)
            and self.samples > 0
            and self.agreement >= self.min_agreement
            and all(
                proof.max_abs_diff <= proof.tolerance < math.inf
                and proof.max_batch_diff <= proof.batch_tolerance < math.inf
                for proof in self.outputs
            )
        )


@dataclass(frozen=True, slots=True)
class AxisLimit:
    """The sizes that a dynamic axis may take; `opt` is what a TensorRT profile is tuned for."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """A served model. `image` and `text` are the settings of the processors that the family's pipeline reads.

    Attributes:
        canary_tolerance: max |difference| that the canary's outputs may show on the serving machine.
        assets: file name in the version's folder -> sha256 in hex.
        axes: dynamic axis -> its limits.
        source: the checkpoint: {"id": ..., "sha256": ...}.
        producers: package -> version that made it.
        head: how the graphs' outputs become an answer, where that is no matter of the family alone.
    """

    name: str
    version: int
    family: str
    tasks: tuple[Task, ...]
    precision: str
    graphs: tuple[GraphRef, ...]
    image: dict[str, Any]
    text: dict[str, Any]
    axes: dict[str, AxisLimit]
    assets: dict[str, str]
    proof: Proof
    canary_tolerance: float
    source: dict[str, str]
    producers: dict[str, str]
    created: str
    schema_version: int = SCHEMA_VERSION
    notes: dict[str, str] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)

    def graph(self, role: str) -> GraphRef:
        """The graph of a role.

        Raises:
            ArtifactError: the deployment has none.
        """
        for ref in self.graphs:
            if ref.role == role:
                return ref
        raise ArtifactError(f"deployment {self.name}@{self.version}: no graph with role {role!r}")
