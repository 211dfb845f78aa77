"""Start a UNITER model from BERT: its words, positions and blocks; what reads regions keeps its own weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.official_uniter_names import uniter_names
from vlp_models.families.uniter import UniterModel

_FROM_BERT = ("uniter.embeddings.", "uniter.encoder.", "uniter.pooler.", "cls.predictions.")


def initialise_from_bert(model: UniterModel, state: Mapping[str, Tensor], source: str) -> None:
    """Put BERT's weights into the parts that UNITER shares with it.

    Token types are BERT's where the model has two; of a model with more, the rows from 2 on keep their own weights.

    Args:
        model: changed in place.
        state: of a BERT checkpoint, names with the prefix `bert.`.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: a part is missing, or of another shape. A BERT without a word decoder lacks the parts of "mlm".
    """
    named = uniter_names(state, source)
    expected = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(_FROM_BERT)}
    types = "uniter.embeddings.token_type_embeddings.weight"
    if types in named and named[types].shape[0] < expected[types].shape[0]:
        rows = named[types].shape[0]
        grown = expected[types].clone()
        grown[:rows] = named[types]
        named[types] = grown
    faults = [f"no {name}" for name in expected if name not in named]
    faults += [
        f"{name} is {list(named[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in named and named[name].shape != tensor.shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ArtifactError(f"{source}: not a BERT checkpoint of this model's shape: {'; '.join(faults[:5])}{more}")
    model.load_state_dict({name: named[name] for name in expected}, strict=False)
