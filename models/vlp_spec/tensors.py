"""Names, dtypes and shapes of a graph's inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

DTYPES = ("uint8", "int32", "int64", "float16", "float32", "bool")
Dim = int | str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph.

    Attributes:
        name: as in the graph.
        dtype: one of DTYPES (numpy's names).
        shape: fixed sizes as integers, dynamic axes by name ("batch", "text", "patches"...); axis 0 is "batch".
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name!r}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if not self.shape or self.shape[0] != "batch":
            raise ValueError(f"tensor {self.name!r}: axis 0 must be 'batch', got {self.shape}")
