"""The tokenizer of a CLIP or SigLIP checkpoint, as one tokenizer.json that says everything by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from vlp_pipeline.clip_text import ClipTextProcessor, ClipTextSettings
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.sentencepiece_model import read_sentencepiece
from vlp_models.families.dual_encoder_config import DualEncoderConfig, Kind

_FILES = ("tokenizer.json", "vocab.json", "spiece.model")
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_START, _END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class ReadTokenizer:
    """A tokenizer and what is not in its file.

    Attributes:
        content: of a tokenizer.json.
        pad_id: what shorter texts are filled up with; None where nothing says it.
        file: where it was read, for errors.
    """

    content: str
    pad_id: int | None
    file: Path


def read_dual_encoder_tokenizer(place: Path, kind: Kind) -> ReadTokenizer:
    """Read a tokenizer.

    Args:
        place: tokenizer.json, vocab.json with merges.txt beside it (CLIP), spiece.model (SigLIP), or a directory with
            one of them. tokenizer_config.json beside it names the padding, and whether to lower-case.
        kind: of the model.

    Raises:
        ArtifactError: there is none, or it cannot be read.
    """
    file = next((place / name for name in _FILES if (place / name).is_file()), None) if place.is_dir() else place
    if file is None:
        raise ArtifactError(
            f"{place}: no tokenizer: expected tokenizer.json, vocab.json with merges.txt, or spiece.model in it"
        )
    settings = _beside(file, "tokenizer_config.json")
    if settings.get("padding_side", "right") != "right" and kind == "siglip":
        raise ArtifactError(f"{file}: padding_side is {settings['padding_side']!r}, only 'right' is supported")
    try:
        tokenizer = _open(file)
    except ArtifactError:
        raise
    # The tokenizers library raises plain Exception for what it does not know.
    except Exception as error:
        raise ArtifactError(f"{file}: not a tokenizer that can be read ({error!s:.200})") from error
    if settings.get("do_lower_case") and kind == "siglip":
        _lower_case(tokenizer)
    return ReadTokenizer(tokenizer.to_str(), _pad_id(tokenizer, settings, file), file)


def check_tokenizer(tokenizer: ReadTokenizer, config: DualEncoderConfig) -> None:
    """Refuse a tokenizer that belongs to another model.

    Raises:
        ArtifactError: it has more words than the model, or does not end a text with the token at which CLIP pools.
    """
    settings = ClipTextSettings(config.max_text_len, config.pad_id, config.fixed_text)
    try:
        processor = ClipTextProcessor.from_file(tokenizer.content.encode(), settings)
    except ArtifactError as error:
        raise ArtifactError(f"{tokenizer.file}: {error.message}") from error
    if processor.vocab_size > config.vocab_size:
        raise ArtifactError(
            f"{tokenizer.file}: the tokenizer has {processor.vocab_size} words, but the model knows "
            f"{config.vocab_size}; give the tokenizer that the checkpoint was trained with"
        )
    if config.kind != "clip":
        return
    ids, _ = processor.encode("a")
    pooled = int(np.argmax(ids if config.end_id is None else ids == config.end_id))
    if pooled != len(ids) - 1 or (config.end_id is not None and ids[-1] != config.end_id):
        wanted = "its largest id" if config.end_id is None else f"the id {config.end_id}"
        raise ArtifactError(
            f"{tokenizer.file}: the tokenizer ends a text with the id {ids[-1]}, but the model looks for {wanted}; "
            "give the tokenizer that the checkpoint was trained with"
        )


def tokenizer_settings(content: str, config: DualEncoderConfig) -> dict[str, Any]:
    """The tokenizer_config.json with which transformers reads our tokenizer.json as it is."""
    tokenizer = Tokenizer.from_str(content)
    ids = tokenizer.encode("").ids
    names = {"pad_token": tokenizer.id_to_token(config.pad_id)}
    if ids:
        names["eos_token"] = tokenizer.id_to_token(ids[-1])
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_text_len,
        "padding_side": "right",
        **names,
    }


def _open(file: Path) -> Tokenizer:
    if file.name == "vocab.json":
        return _clip_bpe(file, file.with_name("merges.txt"))
    if file.suffix == ".model":
        return read_sentencepiece(file)
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read ({error.strerror})") from error
    return Tokenizer.from_str(content)


def _clip_bpe(vocabulary: Path, merges: Path) -> Tokenizer:
    """CLIP's byte pairs from the two files of its first checkpoints; words, cases and ends as openai/CLIP has them."""
    if not merges.is_file():
        raise ArtifactError(f"{vocabulary}: no merges.txt beside it")
    model = models.BPE.from_file(
        str(vocabulary), str(merges), unk_token=_END, continuing_subword_prefix="", end_of_word_suffix="</w>"
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([_START, _END])
    start, end = (model.token_to_id(token) for token in (_START, _END))
    if start is None or end is None:
        raise ArtifactError(f"{vocabulary}: it lacks {_START} or {_END}; expected CLIP's vocab.json")
    tokenizer.post_processor = processors.RobertaProcessing(
        (_END, end), (_START, start), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def _lower_case(tokenizer: Tokenizer) -> None:
    """SigLIP was trained on lower case; the Gemma tokenizer of its second version does not do it by itself."""
    if tokenizer.normalizer is None:
        tokenizer.normalizer = normalizers.Lowercase()
    elif "Lowercase" not in str(tokenizer.normalizer):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), tokenizer.normalizer])


def _pad_id(tokenizer: Tokenizer, settings: dict[str, Any], file: Path) -> int | None:
    token = settings.get("pad_token") or _beside(file, "special_tokens_map.json").get("pad_token")
    if isinstance(token, dict):
        token = token.get("content")
    if token is not None:
        number = tokenizer.token_to_id(str(token))
        if number is None:
            raise ArtifactError(f"{file}: the padding {token!r} is none of its tokens")
        return int(number)
    return int(tokenizer.padding["pad_id"]) if tokenizer.padding else None


def _beside(file: Path, name: str) -> dict[str, Any]:
    path = file.with_name(name)
    return read_json_object(path) if path.is_file() else {}
