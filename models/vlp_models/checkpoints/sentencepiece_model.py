"""SigLIP's spiece.model -> a tokenizer of the tokenizers library, without the sentencepiece package.

Only what such a tokenizer needs is read from the file (sentencepiece_model.proto of google/sentencepiece): pieces with
their scores, the unknown and end tokens, and the table of character replacements. The text is first made canonical as
big_vision does it: lower case, no ASCII punctuation, single spaces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, processors
from vlp_spec.errors import ArtifactError

_UNIGRAM = 1
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_MODEL_TYPE, _UNK_ID, _EOS_ID = 3, 40, 42
_CHARSMAP = 2
_SPACE = "\u2581"
_PUNCTUATION = r"[!-/:-@\[-`{-~]"

Field = tuple[int, int | bytes]


def read_sentencepiece(path: Path) -> Tokenizer:
    """Read a Unigram model.

    Returns:
        A tokenizer that makes text canonical and ends it with the model's end token.

    Raises:
        ArtifactError: the file is no SentencePiece model, or one of another type.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = [_piece(value) for number, value in fields if number == _PIECES and isinstance(value, bytes)]
        trainer = _numbers(fields, _TRAINER)
        charsmap = next(
            value
            for number, part in fields
            if number == _NORMALIZER and isinstance(part, bytes)
            for inner, value in _fields(part)
            if inner == _CHARSMAP and isinstance(value, bytes)
        )
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, StopIteration, struct.error, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a SentencePiece model") from error
    if trainer.get(_MODEL_TYPE, _UNIGRAM) != _UNIGRAM:
        raise ArtifactError(f"{path}: a SentencePiece model of type {trainer[_MODEL_TYPE]}, only Unigram is supported")
    unknown, end = trainer.get(_UNK_ID, 0), trainer.get(_EOS_ID, 2)
    if not (unknown < len(pieces) and end < len(pieces)):
        raise ArtifactError(f"{path}: {len(pieces)} pieces without the tokens {unknown} (unknown) and {end} (end)")
    tokenizer = Tokenizer(models.Unigram(pieces, unknown))
    tokenizer.normalizer = _normalizer(charsmap)
    end_token = pieces[end][0]
    tokenizer.add_special_tokens([end_token, pieces[unknown][0]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end_token}", special_tokens=[(end_token, end)]
    )
    return tokenizer


def _normalizer(charsmap: bytes) -> normalizers.Normalizer:
    steps = [
        normalizers.Replace(_SPACE, " "),
        normalizers.Prepend(_SPACE),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(_PUNCTUATION), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
        *([normalizers.Precompiled(charsmap)] if charsmap else []),
        normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Replace(" ", _SPACE),
    ]
    return normalizers.Sequence(steps)


def _piece(message: bytes) -> tuple[str, float]:
    text, score = "", 0.0
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            text = value.decode()
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
    return text, score


def _numbers(fields: list[Field], number: int) -> dict[int, int]:
    """The whole numbers of a message that occurs once."""
    parts = [value for found, value in fields if found == number and isinstance(value, bytes)]
    return {inner: value for part in parts for inner, value in _fields(part) if isinstance(value, int)}


def _fields(message: bytes) -> Iterator[Field]:
    """Field number and value of each entry (protobuf's wire format): whole numbers, or bytes of strings and floats."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == 2:
            size, place = _varint(message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + size > len(message):
            raise ValueError("cut short")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
