"""The tokenizer of a BLIP: BERT's, with [DEC] and [ENC] behind its words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from vlp_pipeline.text import TextProcessor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.tokenizer_source import read_tokenizer
from vlp_models.families.blip_config import BlipConfig, TokenIds

_START, _FUSE = "[DEC]", "[ENC]"


@dataclass(frozen=True)
class BlipTokenizer:
    """A tokenizer that has [DEC] and [ENC].

    Attributes:
        content: of a tokenizer.json.
        tokens: the ids of what BLIP puts in by itself.
    """

    content: str
    tokens: TokenIds


def with_blip_tokens(content: str) -> str:
    """Give a tokenizer [DEC] and then [ENC], where it lacks them.

    They get the ids behind its last one, as in the published code (init_tokenizer of salesforce/BLIP), and are special:
    left out of texts.

    Args:
        content: of a tokenizer.json; so is what comes back.

    Raises:
        ArtifactError: its ids have gaps, so that there is no telling what stands behind the last one.
    """
    tokenizer = Tokenizer.from_str(content)
    tokenizer.add_special_tokens([_START, _FUSE])
    vocabulary = tokenizer.get_vocab()
    if len(set(vocabulary.values())) != len(vocabulary):
        raise ArtifactError(f"tokenizer: {_START} or {_FUSE} would share the id of another of {len(vocabulary)} words")
    return str(tokenizer.to_str())


def blip_token_ids(content: str) -> TokenIds:
    """Find the ids of what BLIP puts in by itself.

    Args:
        content: of a tokenizer.json.

    Raises:
        ArtifactError: it is no tokenizer, or lacks a special token.
    """
    processor = TextProcessor.from_file(content.encode(), max_length=3)
    tokenizer = Tokenizer.from_str(content)
    start, fuse = tokenizer.token_to_id(_START), tokenizer.token_to_id(_FUSE)
    if start is None or fuse is None:
        raise ArtifactError(f"tokenizer: it lacks {_START} or {_FUSE}; add them by with_blip_tokens")
    return TokenIds(start=start, fuse=fuse, cls=processor.cls_id, end=processor.sep_id, pad=processor.pad_id)


def read_blip_tokenizer(place: Path, vocab_size: int) -> BlipTokenizer:
    """Read the tokenizer of a checkpoint.

    Args:
        place: tokenizer.json, vocab.txt, or a directory with either.
        vocab_size: rows of the model's word table, [DEC] and [ENC] included.

    Raises:
        ArtifactError: there is none, it cannot be read, or it belongs to another model.
    """
    try:
        content = with_blip_tokens(read_tokenizer(place, vocab_size))
    except ArtifactError as error:
        raise ArtifactError(error.message if str(place) in error.message else f"{place}: {error.message}") from error
    tokens = blip_token_ids(content)
    if max(tokens.start, tokens.fuse) >= vocab_size:
        raise ArtifactError(
            f"{place}: {_START} has the id {tokens.start} and {_FUSE} {tokens.fuse}, but the model knows {vocab_size} "
            "words; give the tokenizer that the checkpoint was trained with"
        )
    return BlipTokenizer(content, tokens)


def blip_tokenizer_settings(config: BlipConfig) -> dict[str, Any]:
    """The tokenizer_config.json with which transformers reads our tokenizer.json as it is."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_positions,
        "padding_side": "right",
        "bos_token": _START,
        "additional_special_tokens": [_FUSE],
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
    }
