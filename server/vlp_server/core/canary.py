"""Whether loaded graphs still computes what the checkpoint did: known inputs through the real engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import ArtifactError, CapacityError

from vlp_server.engines.base import Runner

_INPUT, _OUTPUT = "input.", "output."


@dataclass(frozen=True, slots=True)
class Canary:
    """Inputs, and the outputs that they must give, of all graphs of a model together.

    Attributes:
        tolerance: max |difference| allowed.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    tolerance: float

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], tolerance: float) -> Canary:
        """Split the arrays of canary.npz.

        Raises:
            ArtifactError: no inputs or no outputs among them.
        """
        inputs = {name.removeprefix(_INPUT): array for name, array in arrays.items() if name.startswith(_INPUT)}
        outputs = {name.removeprefix(_OUTPUT): array for name, array in arrays.items() if name.startswith(_OUTPUT)}
        if not inputs or not outputs:
            raise ArtifactError(f"canary: expected input.* and output.* arrays, got {sorted(arrays)}")
        return cls(inputs, outputs, tolerance)

    def part(self, graph: GraphRef) -> Canary:
        """What concerns one graph of several: the arrays by the names of its own inputs and outputs.

        Raises:
            ArtifactError: an input has no array, or no output has one.
        """
        names = [spec.name for spec in graph.inputs]
        if missing := sorted(set(names) - set(self.inputs)):
            raise ArtifactError(f"canary: no input {', '.join(missing)} for graph {graph.role!r}")
        outputs = {spec.name: self.outputs[spec.name] for spec in graph.outputs if spec.name in self.outputs}
        if not outputs:
            raise ArtifactError(f"canary: no output of graph {graph.role!r}")
        return Canary({name: self.inputs[name] for name in names}, outputs, self.tolerance)

    def check(self, engine: Runner, key: str) -> None:
        """Run the inputs and compare. Blocking.

        Raises:
            ArtifactError: the engine failed, or an output is missing, of another shape, or off by more than the
                tolerance; says by how much.
            CapacityError: a remote engine cannot be asked now: no verdict.
        """
        try:
            got = engine.run(key, self.inputs)
        except CapacityError:
            raise
        except Exception as error:
            raise ArtifactError("canary: the model failed on its known inputs", detail=repr(error)) from error
        for name, expected in self.outputs.items():
            if name not in got or got[name].shape != expected.shape:
                shape = got[name].shape if name in got else None
                raise ArtifactError(f"canary: output {name!r} has shape {shape}, expected {expected.shape}")
            difference = _max_abs_diff(got[name], expected)
            if not difference <= self.tolerance:  # a NaN must not pass
                raise ArtifactError(
                    f"canary: output {name!r} is off by {difference:.3g}, allowed is {self.tolerance:.3g}; "
                    "the weights or the machine's arithmetic are not those of the export"
                )


def _max_abs_diff(got: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.max(np.abs(got.astype(np.float64) - expected.astype(np.float64)), initial=0.0))
