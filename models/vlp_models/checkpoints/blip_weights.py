"""Build a BLIP from weights under its own names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import BlipConfig

WORD_TABLE = "text_decoder.bert.embeddings.word_embeddings.weight"
WORD_MATRIX = "text_decoder.cls.predictions.decoder.weight"
"""The word head's; the model has it where it is not the word table."""
WORD_BIAS = "text_decoder.cls.predictions.bias"
SECOND_WORD_BIAS = "text_decoder.cls.predictions.decoder.bias"
"""What transformers, from version 5, adds, whatever the first is; the model has one bias."""
# A buffer that files of older versions carry: 0, 1, 2, ...
_COUNTED = ".position_ids"
_MERGE = ".crossattention.output.merge_layer.weight"


def stored_once(state: Mapping[str, Tensor], *, ties_words: bool = True) -> dict[str, Tensor]:
    """Leave out counted positions, and the word head's matrix and bias where they are stored a second time.

    Of two biases that differ the decoder's stays, under the model's name: transformers and the published code add it.
    One alone counts under either name.

    Args:
        state: name -> tensor, on any device.
        ties_words: whether the word head's matrix may be the word table. It is where the two are equal or one of them
            is not stored; else WORD_MATRIX stays, which transformers before version 5 trained apart.
    """
    weights = {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTED)}
    if SECOND_WORD_BIAS in weights:
        weights[WORD_BIAS] = weights.pop(SECOND_WORD_BIAS)
    if ties_words and WORD_MATRIX in weights:
        matrix = weights[WORD_MATRIX]
        table = weights.setdefault(WORD_TABLE, matrix)
        # Without values, as on the meta device, there is nothing to compare.
        is_stored_twice = matrix.shape == table.shape if matrix.is_meta else torch.equal(matrix, table)
        if is_stored_twice:
            del weights[WORD_MATRIX]
    return weights


def stored_heads(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Tell the heads from names that are the same in transformers' and in the published files.

    A decoder beside an encoder answers questions, unless the encoder has a matching head: then the two were pre-trained
    together, and the decoder looks at the picture.
    """
    encoder, decoder = (
        any(name.startswith(part) for name in state) for part in ("text_encoder.encoder.", "text_decoder.bert.encoder.")
    )
    found = {
        "caption": decoder and (not encoder or "itm_head.weight" in state),
        "vqa": decoder and encoder and "itm_head.weight" not in state,
        "match": encoder and "itm_head.weight" in state,
        "reasoning": encoder and "cls_head.0.weight" in state,
    }
    return tuple(head for head, there in found.items() if there)


def first_merging_block(state: Mapping[str, Tensor], num_blocks: int) -> int:
    """The first block of an NLVR2 model that has a merging layer; `num_blocks` where none has."""
    merging = [index for index in range(num_blocks) if f"text_encoder.encoder.layer.{index}{_MERGE}" in state]
    return min(merging, default=num_blocks)


def build_blip(config: BlipConfig, state: Mapping[str, Tensor], source: str) -> BlipModel:
    """Build a model and load it: strictly, but for the temperature, which transformers' files do not have.

    Args:
        config: as the weights have it.
        state: name -> tensor of `stored_once`, under the model's names.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: names or shapes do not fit, or the picture's positions make no grid of patches.
    """
    if "match" in config.heads:
        state = {"logit_scale": torch.tensor(float(config.hf.logit_scale_init_value)), **state}
    try:
        with torch.device("meta"):
            model = BlipModel(config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{source}: {error}") from error
    load_strictly(model, state, source)
    # Not stored, and left on the meta device.
    for name, values in (("pixel_mean", config.pixel_mean), ("pixel_std", config.pixel_std)):
        model.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
    return model
