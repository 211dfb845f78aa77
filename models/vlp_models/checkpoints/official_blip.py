"""Read the published BLIP checkpoints (.pth of salesforce/BLIP): names and sizes; words come with the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import BlipConfig as TransformersBlipConfig
from vlp_pipeline.clip_image import ClipImageSettings
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.blip_settings import blip_answers, blip_image_settings, default_prompt, encoder_tokens
from vlp_models.checkpoints.blip_tokenizer import read_blip_tokenizer
from vlp_models.checkpoints.blip_weights import (
    WORD_MATRIX,
    WORD_TABLE,
    build_blip,
    first_merging_block,
    stored_heads,
    stored_once,
)
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.official_blip_names import blip_names
from vlp_models.families.blip_config import BlipConfig, TokenIds
from vlp_models.families.dual_encoder_config import CLIP_MEAN, CLIP_STD

_PATCHES = "vision_model.embeddings.patch_embedding.weight"
_POSITIONS = "vision_model.embeddings.position_embedding"
_PICTURE_MLP = "vision_model.encoder.layers.0.mlp.fc1.weight"
# The head width of every published size, in pictures and in texts; only sizes are stored in a state dict.
_HEAD_WIDTH = 64
# models/vit.py and configs/med_config.json of salesforce/BLIP; transformers' own default is 1e-5 for pictures.
_VISION_EPS, _TEXT_EPS, _TEXT_DROPOUT = 1e-6, 1e-12, 0.1


def is_official_blip(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has BLIP's names; ALBEF's are the same, but it has token types."""
    return "visual_encoder.patch_embed.proj.weight" in state and any(
        f"{text}.embeddings.word_embeddings.weight" in state
        and f"{text}.embeddings.token_type_embeddings.weight" not in state
        for text in ("text_encoder", "text_decoder.bert")
    )


def read_official_blip(
    path: Path, state: Mapping[str, Tensor], settings: Mapping[str, Any], given: GivenFiles
) -> LoadedCheckpoint:
    """Read a .pth: captioning, VQA, retrieval, NLVR2, or one of pre-training, which captions and matches.

    Args:
        path: names the checkpoint, in errors too.
        state: its weights under the published names.
        settings: num_attention_heads of texts and of pictures (vision_num_attention_heads), where they are not a 64th
            of the width; published files hold none.
        given: the tokenizer of bert-base-uncased, always; answers (JSON) for a VQA model that is to choose among them.

    Raises:
        ArtifactError: the tokenizer is not given or not the model's, sizes cannot be found, or names or shapes do not
            fit.
    """
    source = str(path)
    named = stored_once(blip_names(state))
    if WORD_MATRIX in named:
        raise ArtifactError(
            f"{source}: {WORD_MATRIX} and {WORD_TABLE} are one weight in the published code, but they differ"
        )
    hf = official_blip_sizes(named, settings, source)
    words = hf.text_config.vocab_size
    if given.tokenizer is None:
        raise ArtifactError(
            f"{path}: the file does not hold the tokenizer ({words} words, [DEC] and [ENC] the last of them): give "
            "that of bert-base-uncased, as tokenizer.json or vocab.txt (--tokenizer)"
        )
    tokenizer = read_blip_tokenizer(given.tokenizer, words)
    config = _config(hf, named, tokenizer.tokens, source)
    side = config.image_size
    return LoadedCheckpoint(
        model=build_blip(config, named, source),
        tokenizer=tokenizer.content,
        labels=blip_answers(config.heads, given),
        image=blip_image_settings(ClipImageSettings(side, side)),
        source=source,
    )


def official_blip_sizes(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str
) -> TransformersBlipConfig:
    """Find a model's sizes from its weights.

    Args:
        state: name -> tensor of `blip_names` (any device; only shapes are read).
        settings: as in `read_official_blip`.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: a tensor that tells a size is missing, or the number of heads cannot be known.
    """
    text = "text_encoder" if "text_encoder.embeddings.word_embeddings.weight" in state else "text_decoder.bert"
    words, text_positions = f"{text}.embeddings.word_embeddings.weight", f"{text}.embeddings.position_embeddings.weight"
    perceptron = f"{text}.encoder.layer.0.intermediate.dense.weight"
    needed = (_PATCHES, _POSITIONS, _PICTURE_MLP, words, text_positions, perceptron)
    if missing := [name for name in needed if name not in state]:
        raise ArtifactError(f"{source}: not a whole BLIP checkpoint: missing {', '.join(missing)} (under our names)")
    ranks = {_PATCHES: 4, _POSITIONS: 3, _PICTURE_MLP: 2, words: 2, text_positions: 2, perceptron: 2}
    if wrong := [name for name, rank in ranks.items() if state[name].ndim != rank]:
        shapes = ", ".join(f"{name} {tuple(state[name].shape)}" for name in wrong)
        raise ArtifactError(f"{source}: tensors of another rank than BLIP's: {shapes} (under our names)")
    vision_width, _, patch_size, _ = state[_PATCHES].shape
    vocab_size, width = state[words].shape
    vision = {
        "hidden_size": vision_width,
        "intermediate_size": state[_PICTURE_MLP].shape[0],
        "num_hidden_layers": _count(state, "vision_model.encoder.layers.", ".mlp.fc1.weight"),
        "num_attention_heads": _num_heads(vision_width, settings.get("vision_num_attention_heads"), source),
        "image_size": round((state[_POSITIONS].shape[1] - 1) ** 0.5) * patch_size,
        "patch_size": patch_size,
        "layer_norm_eps": _VISION_EPS,
    }
    texts = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": state[perceptron].shape[0],
        "num_hidden_layers": _count(state, f"{text}.encoder.layer.", ".intermediate.dense.weight"),
        "num_attention_heads": _num_heads(width, settings.get("num_attention_heads"), source),
        "max_position_embeddings": state[text_positions].shape[0],
        "layer_norm_eps": _TEXT_EPS,
        "hidden_dropout_prob": _TEXT_DROPOUT,
        "attention_probs_dropout_prob": _TEXT_DROPOUT,
    }
    projection = state.get("vision_proj.weight")
    if projection is not None and projection.ndim != 2:
        raise ArtifactError(f"{source}: vision_proj.weight is {tuple(projection.shape)}, expected two axes")
    dimension = {} if projection is None else {"image_text_hidden_size": projection.shape[0]}
    return TransformersBlipConfig(vision_config=vision, text_config=texts, **dimension)


def _config(hf: TransformersBlipConfig, state: Mapping[str, Tensor], tokens: TokenIds, source: str) -> BlipConfig:
    hf.text_config.bos_token_id, hf.text_config.sep_token_id = tokens.start, tokens.end
    hf.text_config.pad_token_id = tokens.pad
    heads = stored_heads(state)
    try:
        return BlipConfig(
            hf=hf,
            heads=heads,
            tokens=tokens,
            max_text_len=encoder_tokens(heads, hf.text_config.max_position_embeddings),
            pixel_mean=CLIP_MEAN,
            pixel_std=CLIP_STD,
            prompt=default_prompt(heads),
            merged_from=first_merging_block(state, hf.text_config.num_hidden_layers),
        )
    except ConfigError as error:
        raise ArtifactError(f"{source}: {'; '.join(error.faults)}") from error


def _count(state: Mapping[str, Tensor], start: str, end: str) -> int:
    return sum(name.startswith(start) and name.endswith(end) for name in state)


def _num_heads(width: int, stated: Any, source: str) -> int:
    if stated is not None:
        if type(stated) is not int or stated < 1:
            raise ArtifactError(f"{source}: hyper_parameters: {stated!r:.40} attention heads, expected 1 or more")
        return stated
    if width % _HEAD_WIDTH:
        raise ArtifactError(
            f"{source}: the number of attention heads is unknown: the width {width} is not a multiple of "
            f"{_HEAD_WIDTH}; store it as hyper_parameters.num_attention_heads and .vision_num_attention_heads"
        )
    return int(width // _HEAD_WIDTH)
