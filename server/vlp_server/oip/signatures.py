"""Inputs and outputs of a model as the protocol tells them: a graph's from its manifest, a task's from one table.

Names and types of tasks are those of the task models that Triton hosts: a client that asks the one can ask the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlp_spec.deployment import GraphRef
from vlp_spec.tasks import Task
from vlp_spec.tensors import Dim, TensorSpec
from vlp_spec.triton_names import ANSWER, EMBEDDINGS, FEATURES, IMAGE, OPTIONS, RESULT, TEXT

from vlp_server.core.hosted_models import HostedModel
from vlp_server.oip.datatypes import BYTES, DATATYPES


@dataclass(frozen=True, slots=True)
class TensorSignature:
    """A tensor of a model.

    Attributes:
        shape: fixed sizes, and dynamic axes by name or "" ; a graph's begins with "batch".
        optional: of an input: whether it may be left out.
    """

    name: str
    datatype: str
    shape: tuple[Dim, ...]
    optional: bool = False

    @property
    def sizes(self) -> list[int]:
        """The shape with -1 for dynamic axes."""
        return [size if isinstance(size, int) else -1 for size in self.shape]


@dataclass(frozen=True, slots=True)
class Signature:
    """All tensors of a model.

    Attributes:
        decoupled: whether it may give several answers to a request.
    """

    inputs: Sequence[TensorSignature]
    outputs: Sequence[TensorSignature]
    decoupled: bool = False


_ANSWERS = (TensorSignature(ANSWER, BYTES, ("",)), TensorSignature(RESULT, BYTES, ("",)))
_OUTPUTS: Mapping[Task, tuple[TensorSignature, ...]] = {
    Task.EMBEDDINGS: (TensorSignature(EMBEDDINGS, "FP32", ("", "")), TensorSignature(RESULT, BYTES, ("",))),
    Task.REGIONS: (TensorSignature(FEATURES, "FP32", ("", "")), TensorSignature(RESULT, BYTES, ("",))),
}


def signature_of(hosted: HostedModel) -> Signature:
    """The tensors of a graph or a task."""
    if isinstance(hosted.part, GraphRef):
        return Signature(
            [_tensor(spec) for spec in hosted.part.inputs], [_tensor(spec) for spec in hosted.part.outputs]
        )
    return _task_signature(hosted.part)


def _tensor(spec: TensorSpec) -> TensorSignature:
    # One number an item is a row of one, as Triton has it.
    shape = spec.shape if len(spec.shape) > 1 else (*spec.shape, 1)
    return TensorSignature(spec.name, DATATYPES[spec.dtype], shape)


def _task_signature(task: Task) -> Signature:
    inputs = [TensorSignature(IMAGE, BYTES, ("",), optional=task is Task.EMBEDDINGS)]
    if task is not Task.REGIONS:
        inputs.append(TensorSignature(TEXT, BYTES, ("",), optional=task in (Task.CAPTION, Task.EMBEDDINGS)))
    inputs.append(TensorSignature(OPTIONS, BYTES, (1,), optional=True))
    return Signature(inputs, _OUTPUTS.get(task, _ANSWERS), decoupled=task is Task.CAPTION)
