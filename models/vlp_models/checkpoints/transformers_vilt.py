"""Hugging Face transformers' ViLT checkpoints: their names and settings in ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.tokenizer_source import read_tokenizer
from vlp_models.checkpoints.transformers_vilt_images import read_image_settings
from vlp_models.checkpoints.transformers_vilt_names import rename_state
from vlp_models.checkpoints.vilt_directory import vilt_labels
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig

ARCHITECTURE_HEADS = {
    "ViltForQuestionAnswering": "vqa",
    "ViltForImagesAndTextClassification": "nlvr2",
    "ViltForImageAndTextRetrieval": "irtr",
    "ViltForMaskedLM": "mlm",
}

# What transformers takes for a key that config.json leaves out.
_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "modality_type_vocab_size": 2,
    "max_position_embeddings": 40,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "layer_norm_eps": 1e-12,
    "image_size": 384,
    "patch_size": 32,
    "num_channels": 3,
    "qkv_bias": True,
    "num_images": -1,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
}


def read_transformers_vilt(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read a directory that `save_pretrained` of a ViLT class wrote.

    Args:
        directory: holds config.json with model_type "vilt".
        given: files to use instead of the directory's own.

    Raises:
        ArtifactError: another class, settings that are not supported, or files that do not fit each other.
    """
    values = {**_DEFAULTS, **read_json_object(directory / "config.json")}
    source = str(directory)
    head = _head(values, source)
    state = rename_state(read_weights(directory), head)
    config = transformers_vilt_config(values, head, state, source)
    with torch.device("meta"):
        model = ViltModel(config)
    load_strictly(model, state, source)
    return LoadedCheckpoint(
        model=model,
        tokenizer=read_tokenizer(given.tokenizer or directory, config.vocab_size),
        labels=vilt_labels(config, values, given, directory),
        image=read_image_settings(directory, config),
        source=source,
    )


def transformers_vilt_config(
    values: Mapping[str, Any], head: str, state: Mapping[str, Tensor], source: str
) -> ViltConfig:
    """Translate transformers' ViltConfig.

    transformers has one layer norm eps for text embeddings and blocks, 1e-12 by default, where the published model
    has 1e-12 and 1e-6; what the source says is kept, so that the logits agree with it.

    Args:
        values: config.json with defaults filled in.
        head: our name of the head.
        state: the weights under our names; the VQA head's width is read from it.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: lists all settings that this model cannot follow.
    """
    faults = [
        f"{key} is {values[key]!r}, only {only!r} is supported"
        for key, only in (("hidden_act", "gelu"), ("qkv_bias", True), ("num_channels", 3))
        if values[key] != only
    ]
    if head == "nlvr2" and values["num_images"] != 2:
        faults.append(f"num_images is {values['num_images']!r}, only 2 is supported")
    if faults:
        raise ArtifactError(f"{source}: {'; '.join(faults)}")
    answers = state.get("vqa_classifier.3.bias")
    try:
        return ViltConfig(
            hidden_size=values["hidden_size"],
            num_layers=values["num_hidden_layers"],
            num_heads=values["num_attention_heads"],
            patch_size=_side(values["patch_size"], "patch_size", source),
            image_size=_side(values["image_size"], "image_size", source),
            vocab_size=values["vocab_size"],
            max_text_len=values["max_position_embeddings"],
            heads=(head,),
            num_labels=0 if answers is None else answers.shape[0],
            num_token_types=values["modality_type_vocab_size"],
            mlp_ratio=values["intermediate_size"] / values["hidden_size"],
            dropout=values["hidden_dropout_prob"],
            layer_norm_eps=values["layer_norm_eps"],
            text_layer_norm_eps=values["layer_norm_eps"],
        )
    except ConfigError as error:
        raise ArtifactError(f"{source}: {'; '.join(error.faults)}") from error


def _head(values: Mapping[str, Any], source: str) -> str:
    architectures = values.get("architectures") or []
    for name in architectures:
        if name in ARCHITECTURE_HEADS:
            return ARCHITECTURE_HEADS[name]
    raise ArtifactError(
        f"{source}: config.json names the classes {architectures}; supported: {', '.join(ARCHITECTURE_HEADS)}"
    )


def _side(value: Any, key: str, source: str) -> int:
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1 or not all(isinstance(side, int) for side in sides):
        raise ArtifactError(f"{source}: {key} is {value!r}, only squares are supported")
    return int(sides.pop())
