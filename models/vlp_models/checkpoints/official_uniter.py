"""Read the published UNITER checkpoints (.pt of ChenRocks/UNITER): names and sizes, nothing about words or answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.answer_list import read_answer_list
from vlp_models.checkpoints.official_uniter_names import uniter_names
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig

# Order of the entailment head in ChenRocks/UNITER (utils/misc.py); METER's differs.
ENTAILMENT_LABELS = ("contradiction", "entailment", "neutral")

_EMBEDDINGS, _LAYER = "uniter.embeddings", "uniter.encoder.layer"
_REGIONS = "uniter.img_embeddings.img_linear.weight"
_HEAD_KEYS = {
    "vqa": "vqa_output.3.bias",
    "entailment": "entailment_output.3.bias",
    "nlvr2": "nlvr2_output.bias",
    "itm": "itm_output.bias",
    "rank": "rank_output.bias",
    "grounding": "re_output.bias",
    "vcr": "vcr_output.3.bias",
    "mlm": "cls.predictions.bias",
    "mrfr": "feat_regress.bias",
    "mrc": "region_classifier.net.3.bias",
}
_SIZE_KEYS = (
    f"{_EMBEDDINGS}.word_embeddings.weight",
    f"{_EMBEDDINGS}.position_embeddings.weight",
    f"{_EMBEDDINGS}.token_type_embeddings.weight",
    f"{_LAYER}.0.intermediate.dense.weight",
    _REGIONS,
)
# The head width of both published sizes; only sizes are stored in a state dict.
_HEAD_WIDTH = 64


def is_official_uniter(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has UNITER's names, with the prefix `uniter.`, or `bert.` as in files made from BERT."""
    return any(
        {f"{prefix}embeddings.word_embeddings.weight", f"{prefix}img_embeddings.img_linear.weight"} <= state.keys()
        for prefix in ("uniter.", "bert.")
    )


def official_uniter_config(state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> UniterConfig:
    """Find a model's sizes and heads from its weights; a head whose weights are not there is none of its heads.

    Args:
        state: name -> tensor under our names (any device; only shapes are read).
        settings: the model's published configuration (num_attention_heads, hidden_act, hidden_dropout_prob,
            attention_probs_dropout_prob), and use_img_type of its fine-tuning; empty where nobody knows. Published
            files hold none of it.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: a tensor that tells a size is missing, the number of heads cannot be known, or the activation is
            another one.
    """
    if missing := [name for name in _SIZE_KEYS if name not in state]:
        raise ArtifactError(f"{source}: not a whole UNITER checkpoint: missing {', '.join(missing)}")
    if settings.get("hidden_act", "gelu") != "gelu":
        raise ArtifactError(f"{source}: hidden_act is {settings['hidden_act']!r}, only 'gelu' is supported")
    heads = tuple(head for head, key in _HEAD_KEYS.items() if key in state)
    hidden_size, region_size = state[_REGIONS].shape
    token_types = state[f"{_EMBEDDINGS}.token_type_embeddings.weight"].shape[0]
    classes = state.get(_HEAD_KEYS["mrc"])
    try:
        return UniterConfig(
            hidden_size=hidden_size,
            num_layers=sum(name.startswith(_LAYER) and name.endswith(".intermediate.dense.weight") for name in state),
            num_heads=_num_heads(hidden_size, settings, source),
            intermediate_size=state[f"{_LAYER}.0.intermediate.dense.weight"].shape[0],
            vocab_size=state[f"{_EMBEDDINGS}.word_embeddings.weight"].shape[0],
            max_positions=state[f"{_EMBEDDINGS}.position_embeddings.weight"].shape[0],
            heads=heads,
            num_token_types=token_types,
            region_size=region_size,
            num_labels=state[_HEAD_KEYS["vqa"]].shape[0] if "vqa" in heads else 0,
            entailment_labels=ENTAILMENT_LABELS if "entailment" in heads else (),
            nlvr2_variant=_nlvr2_variant(state, hidden_size),
            second_image_type=bool(settings.get("use_img_type", token_types > 2)),
            dropout=float(settings.get("hidden_dropout_prob", 0.1)),
            attention_dropout=float(settings.get("attention_probs_dropout_prob", 0.1)),
            **({} if classes is None else {"num_region_classes": classes.shape[0]}),
        )
    except ConfigError as error:
        raise ArtifactError(f"{source}: {'; '.join(error.faults)}") from error


def build_official_uniter(state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> UniterModel:
    """Build the model that a published state dict describes and load it: strictly, once its names are ours.

    Args:
        state: name -> tensor under the published names, or those that `uniter_names` knows.
        settings: as in `official_uniter_config`.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: sizes cannot be found, names or shapes do not fit, or tied weights differ.
    """
    named = uniter_names(state, source)
    with torch.device("meta"):
        model = UniterModel(official_uniter_config(named, settings, source))
    load_strictly(model, named, source)
    return model


def name_entailment_labels(model: UniterModel, path: Path) -> None:
    """Give the entailment head's outputs the names of a JSON file, in place of the published order.

    Raises:
        ArtifactError: the file is no list of as many different names.
    """
    labels = read_answer_list(path, len(model.config.entailment_labels))
    try:
        model.config = replace(model.config, entailment_labels=labels)
    except ConfigError as error:
        raise ArtifactError(f"{path}: {'; '.join(error.faults)}") from error


def _num_heads(hidden_size: int, settings: Mapping[str, Any], source: str) -> int:
    if settings.get("num_attention_heads"):
        return int(settings["num_attention_heads"])
    if hidden_size % _HEAD_WIDTH:
        raise ArtifactError(
            f"{source}: the number of attention heads is unknown: the width {hidden_size} is not a multiple of "
            f"{_HEAD_WIDTH}; store it as hyper_parameters.num_attention_heads"
        )
    return int(hidden_size // _HEAD_WIDTH)


def _nlvr2_variant(state: Mapping[str, Tensor], hidden_size: int) -> str:
    if "attn1.in_proj_weight" in state:
        return "paired-attn"
    weight = state.get("nlvr2_output.weight")
    if weight is None:
        # Nothing tells, and nothing asks.
        return "paired-attn"
    return "triplet" if weight.shape[1] == hidden_size else "paired"
