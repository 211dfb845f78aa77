"""What a person chooses about an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vlp_spec.errors import ArtifactError

from vlp_export.proof import TOLERANCES

PRECISIONS_OF_FORMAT = {"onnx": ("fp32", "int8"), "tensorrt": ("fp32", "fp16", "bf16")}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to make of a checkpoint.

    Attributes:
        name: of the deployment; None takes the checkpoint's folder or file name. A precision other than fp32 and a
            format other than onnx are appended.
        version: None takes the next free one.
        precision: "fp32" or "int8"; a TensorRT engine takes "fp32", "fp16" or "bf16".
        format: "onnx" or "tensorrt".
        proof_samples: how many samples the graph is compared on.
        proof_data: JSONL data set to take them from; None makes them up.
        min_agreement: smallest share of samples with the checkpoint's answer, 0 to 1; None takes the precision's.
        extractor: for a model that reads region features: the deployment of the same repository that makes them of
            pictures; None keeps what the checkpoint says.
        timing_cache: file of TensorRT's kernel timings, kept from build to build; None for none.
    """

    name: str | None = None
    version: int | None = None
    precision: str = "fp32"
    format: str = "onnx"
    proof_samples: int = 16
    proof_data: Path | None = None
    min_agreement: float | None = None
    timing_cache: Path | None = None
    extractor: str | None = None

    def __post_init__(self) -> None:
        if self.format not in PRECISIONS_OF_FORMAT:
            raise ArtifactError(f"format {self.format!r}: expected one of {', '.join(PRECISIONS_OF_FORMAT)}")
        allowed = PRECISIONS_OF_FORMAT[self.format]
        if self.precision not in allowed:
            raise ArtifactError(f"precision {self.precision!r}: the format {self.format} takes {', '.join(allowed)}")
        if self.proof_samples < 1:
            raise ArtifactError(f"proof samples: got {self.proof_samples}, expected at least 1")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise ArtifactError(f"least agreement: got {self.min_agreement}, expected 0 to 1")

    @property
    def agreement_bound(self) -> float:
        """The share of samples that must have the checkpoint's answer."""
        if self.min_agreement is not None:
            return self.min_agreement
        tolerances = TOLERANCES[self.precision]
        return tolerances.agreement_made_up if self.proof_data is None else tolerances.agreement
