"""BLIP directories: the form of Hugging Face transformers, which is also the one that we write.

Beside transformers' keys our config.json has "vlpserve", with what its classes and processors do not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import BlipConfig as TransformersBlipConfig
from transformers import BlipTextConfig
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.blip_files import ARCHITECTURES
from vlp_models.checkpoints.blip_settings import (
    OUR_KEY,
    OwnSettings,
    blip_answers,
    blip_image_settings,
    default_prompt,
    encoder_tokens,
)
from vlp_models.checkpoints.blip_tokenizer import read_blip_tokenizer
from vlp_models.checkpoints.blip_weights import (
    WORD_MATRIX,
    build_blip,
    first_merging_block,
    stored_heads,
    stored_once,
)
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.dual_encoder_images import read_picture_settings
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.transformers_config import transformers_config
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.blip_config import BlipConfig, TokenIds

_HEADS = {architecture: head for head, architecture in ARCHITECTURES.items()}
_UNTOUCHED_START = BlipTextConfig().bos_token_id


def read_transformers_blip(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read a directory that `save_pretrained` of a BLIP class wrote, or `save_checkpoint`.

    Args:
        directory: holds config.json with model_type "blip".
        given: files to use instead of the directory's own; answers (JSON) for a VQA model that is to choose among them.

    Raises:
        ArtifactError: another class, settings that are not supported, or files that do not fit each other.
    """
    source, path = str(directory), directory / "config.json"
    values = read_json_object(path)
    own = OwnSettings.from_json(values.pop(OUR_KEY, {}), path)
    hf = transformers_config(TransformersBlipConfig, values, path)
    image_size = hf.vision_config.image_size
    if not isinstance(image_size, int):
        raise ArtifactError(f"{source}: image_size is {image_size!r}: only squares are supported")
    # transformers ties where either of the two says so.
    ties_words = hf.tie_word_embeddings or hf.text_config.tie_word_embeddings
    state = stored_once(read_weights(directory), ties_words=ties_words)
    heads = own.heads or _heads(values, state, source)
    pictures = read_picture_settings(directory, "blip", image_size)
    tokenizer = read_blip_tokenizer(given.tokenizer or directory, hf.text_config.vocab_size)
    _check_start(tokenizer.tokens, hf.text_config, source)
    positions = hf.text_config.max_position_embeddings
    try:
        config = BlipConfig(
            hf=hf,
            heads=heads,
            tokens=tokenizer.tokens,
            max_text_len=encoder_tokens(heads, positions) if own.max_text_len is None else own.max_text_len,
            pixel_mean=pictures.mean,
            pixel_std=pictures.std,
            prompt=default_prompt(heads) if own.prompt is None else own.prompt,
            generation=own.generation or {},
            merged_from=first_merging_block(state, hf.text_config.num_hidden_layers),
            tied_words=ties_words and WORD_MATRIX not in state,
        )
    except ConfigError as error:
        raise ArtifactError(f"{source}: {'; '.join(error.faults)}") from error
    return LoadedCheckpoint(
        model=build_blip(config, state, source),
        tokenizer=tokenizer.content,
        labels=blip_answers(heads, given, own.answers),
        image=blip_image_settings(pictures.image),
        source=source,
    )


def _heads(values: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    architectures = values.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise ArtifactError(f"{source}: config.json: architectures is {architectures!r:.80}, expected a list of names")
    named = tuple(_HEADS[name] for name in architectures if name in _HEADS)
    heads = named or stored_heads(state)
    if not heads:
        raise ArtifactError(
            f"{source}: config.json names the classes {architectures}, and the weights have none of BLIP's heads; "
            f"supported: {', '.join(_HEADS)}"
        )
    return heads


def _check_start(tokens: TokenIds, text: BlipTextConfig, source: str) -> None:
    """Refuse a tokenizer whose [DEC] is not the token that the model was trained to start with.

    transformers' default is that of BERT's own vocabulary; nobody meant it where the model has fewer words.
    """
    stated = text.bos_token_id
    if stated in (None, tokens.start) or (stated == _UNTOUCHED_START and stated >= text.vocab_size):
        return
    raise ArtifactError(
        f"{source}: [DEC], which begins every text, has the id {tokens.start} in the tokenizer, but "
        f"text_config.bos_token_id is {stated}; give the tokenizer that the checkpoint was trained with, or set the id "
        "in config.json to what it was trained with"
    )
