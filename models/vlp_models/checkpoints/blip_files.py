"""The files of a BLIP's directory, in transformers' form: JSON with a key of our own, and weights by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from vlp_pipeline.clip_image import ClipImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.blip_settings import OUR_KEY
from vlp_models.checkpoints.blip_tokenizer import blip_token_ids, blip_tokenizer_settings
from vlp_models.checkpoints.blip_weights import SECOND_WORD_BIAS, WORD_BIAS
from vlp_models.checkpoints.dual_encoder_images import PictureSettings, write_picture_settings
from vlp_models.families.blip import BlipModel

ARCHITECTURES = {
    "caption": "BlipForConditionalGeneration",
    "vqa": "BlipForQuestionAnswering",
    "match": "BlipForImageTextRetrieval",
}
"""Head -> the class of transformers that has it; none has the one for two pictures."""


def blip_faults(model: BlipModel, image: Mapping[str, Any], labels: Sequence[str] | None) -> list[str]:
    """What does not fit the model that is to be written."""
    settings, side = ClipImageSettings.from_mapping(image), model.config.image_size
    faults = []
    if (settings.height, settings.width, settings.shortest_edge) != (side, side, 0):
        faults.append(
            f"image: pictures of {settings.width}x{settings.height} pixels"
            f"{' out of larger ones' if settings.shortest_edge else ''}, but the model reads {side}x{side}, resized"
        )
    if labels and "vqa" not in model.config.heads:
        faults.append(f"labels: got {len(labels)}, but the model answers no questions")
    return faults


def blip_files(
    model: BlipModel, image: Mapping[str, Any], labels: Sequence[str] | None, tokenizer: str
) -> dict[str, Mapping[str, Any]]:
    """File name -> content of the JSON files, with which transformers' classes open the model too.

    Raises:
        ArtifactError: the tokenizer is not the model's.
    """
    config, tokens = model.config, model.config.tokens
    if (found := blip_token_ids(tokenizer)) != tokens:
        raise ArtifactError(f"tokenizer: its special tokens are {found}, but the model's are {tokens}")
    values: dict[str, Any] = config.hf.to_dict()
    values["tie_word_embeddings"] = config.tied_words
    values["text_config"] |= {
        "tie_word_embeddings": config.tied_words,
        "bos_token_id": tokens.start,
        "sep_token_id": tokens.end,
        "pad_token_id": tokens.pad,
    }
    own: dict[str, Any] = {
        "heads": list(config.heads),
        "max_text_len": config.max_text_len,
        "prompt": config.prompt,
        **({"answers": list(labels)} if labels else {}),
        **({"generation": dict(config.generation)} if config.generation else {}),
    }
    classes = [ARCHITECTURES[head] for head in config.heads if head in ARCHITECTURES]
    pictures = PictureSettings(ClipImageSettings.from_mapping(image), config.pixel_mean, config.pixel_std)
    return {
        "config.json": values | {"architectures": classes, "dtype": "float32", OUR_KEY: own},
        "preprocessor_config.json": write_picture_settings(pictures, "blip"),
        "tokenizer_config.json": blip_tokenizer_settings(config),
    }


def blip_weights(model: BlipModel) -> dict[str, Tensor]:
    """Name -> tensor of the weights file; the tensors are the model's own.

    Where words are not tied transformers takes a word head's two biases for two as well, and adds the second.
    """
    state: dict[str, Tensor] = model.state_dict()
    if WORD_BIAS in state and not model.config.tied_words:
        state[SECOND_WORD_BIAS] = state[WORD_BIAS]
    return state
