"""Put a state dict into a model strictly: every name and shape must fit, and what does not is listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from vlp_spec.errors import ArtifactError

_LISTED = 8


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Assign every tensor of `state` to the model; floating point becomes float32.

    The model may live on the meta device: its parameters are replaced, not written to, so no memory is spent twice.

    Args:
        model: changed in place, and set to evaluation mode.
        state: name -> tensor, under the model's own names.
        source: names the checkpoint in the error.

    Raises:
        ArtifactError: names are missing or unexpected, or shapes differ; all of them are counted, the first listed.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    faults = _listed("missing", sorted(expected.keys() - state.keys()))
    faults += _listed("unexpected", sorted(state.keys() - expected.keys()))
    faults += _listed(
        "other shape",
        [
            f"{name} (got {list(tensor.shape)}, expected {list(expected[name])})"
            for name, tensor in state.items()
            if name in expected and tuple(tensor.shape) != expected[name]
        ],
    )
    if faults:
        raise ArtifactError(f"{source}: the weights do not fit the model: {'; '.join(faults)}")
    as_float32 = {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    model.load_state_dict(as_float32, assign=True)
    model.requires_grad_(True).eval()


def _listed(what: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if not names:
        return []
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{len(names)} {what}: {', '.join(names[:_LISTED])}{more}"]
