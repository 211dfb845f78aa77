"""Names of UNITER's published files, of their older uploads and of BERT's files, in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.tied_weights import take_once

# The earliest upload called the matching head otherwise (issue 5 of ChenRocks/UNITER).
_PREFIXES = (("bert.", "uniter."), ("ITM.", "itm_output."))
# Layer norms of BERT's first files.
_LAST_PARTS = {"gamma": "weight", "beta": "bias"}
# Positions are counted here, and next-sentence prediction is no part of UNITER.
_LEFT_OUT = re.compile(r"\.position_ids$|^cls\.seq_relationship\.")
# Stored twice in the published files -> where our model has it.
_TIED = {
    "cls.predictions.decoder.weight": "uniter.embeddings.word_embeddings.weight",
    "feat_regress.weight": "uniter.img_embeddings.img_linear.weight",
}
_ANSWERS = "vqa_output."
_ENTAILMENT = "entailment_output."
_ENTAILMENT_OUTPUTS = 3


def uniter_names(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Put a published state dict, or BERT's, under the names of `UniterModel`; nothing is converted or copied.

    `bert.` becomes `uniter.`, gamma and beta become weight and bias, tied weights that are stored twice are taken once,
    and an answer head with three outputs is the entailment head, which published files call by the same name.

    Args:
        state: name -> tensor, on any device.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: two names become one, or tied weights differ.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new_name = _renamed(name)
        if _LEFT_OUT.search(new_name):
            continue
        if new_name in named:
            raise ArtifactError(f"{source}: {new_name} is there twice, the second time as {name}")
        named[new_name] = tensor
    named = take_once(named, _TIED, source)
    answers = named.get(f"{_ANSWERS}3.bias")
    if answers is None or answers.shape != (_ENTAILMENT_OUTPUTS,):
        return named
    return {
        _ENTAILMENT + name.removeprefix(_ANSWERS) if name.startswith(_ANSWERS) else name: tensor
        for name, tensor in named.items()
    }


def _renamed(name: str) -> str:
    for old, new in _PREFIXES:
        if name.startswith(old):
            name = new + name.removeprefix(old)
    stem, dot, last = name.rpartition(".")
    return stem + dot + _LAST_PARTS.get(last, last)
