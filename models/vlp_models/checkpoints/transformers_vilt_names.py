"""transformers' parameter names of ViLT -> the published ones, which are ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Prefix -> prefix; the first that fits is taken. The head called `classifier` has two meanings and is added apart.
_PREFIXES = (
    ("vilt.embeddings.text_embeddings.", "text_embeddings."),
    ("vilt.embeddings.token_type_embeddings.", "token_type_embeddings."),
    ("vilt.embeddings.cls_token", "transformer.cls_token"),
    ("vilt.embeddings.position_embeddings", "transformer.pos_embed"),
    ("vilt.embeddings.patch_embeddings.projection.", "transformer.patch_embed.proj."),
    ("vilt.encoder.layer.", "transformer.blocks."),
    ("vilt.layernorm.", "transformer.norm."),
    ("vilt.pooler.", "pooler."),
    ("mlm_score.decoder.bias", "mlm_score.bias"),
)
_BLOCK_PARTS = (
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".attention.output.dense.", ".attn.proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
# Buffers that older files carry: 0, 1, 2, ... and zeros.
_BUFFERS = ("vilt.embeddings.text_embeddings.position_ids", "vilt.embeddings.text_embeddings.token_type_ids")
_QUERY = ".attention.attention.query."


def rename_state(state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Rename a state dict of a transformers ViLT class; names that are not known stay and fail the strict load.

    Args:
        state: as stored.
        head: our name of the head, which tells what `classifier` is.

    Returns:
        the same tensors under our names, queries, keys and values joined; the word decoder is copied from the word
        embeddings where the file leaves it out because the two are tied.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _BUFFERS:
            continue
        if _QUERY in name:
            parts = [state.get(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
            present = [part for part in parts if part is not None]
            renamed[_rename(name.replace(_QUERY, ".attn.qkv."), head)] = torch.cat(present)
        elif (
            ".attention.attention." not in name
            or name.replace(".key.", ".query.").replace(".value.", ".query.") not in state
        ):
            renamed[_rename(name, head)] = tensor
    if head == "mlm" and "mlm_score.decoder.weight" not in renamed:
        embeddings = renamed.get("text_embeddings.word_embeddings.weight")
        if embeddings is not None:
            # A copy: shared memory would tie them again in training.
            renamed["mlm_score.decoder.weight"] = embeddings.clone()
    return renamed


def _rename(name: str, head: str) -> str:
    if name.startswith("classifier."):
        return f"{head}_{name}"
    for prefix, ours in _PREFIXES:
        if name.startswith(prefix):
            name = ours + name.removeprefix(prefix)
            break
    if name.startswith("transformer.blocks."):
        for part, ours in _BLOCK_PARTS:
            if part in name:
                return name.replace(part, ours)
    return name
