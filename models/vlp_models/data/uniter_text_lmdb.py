"""UNITER's text databases: tokenised examples in an LMDB, with what belongs to them in JSON files beside it.

    <folder>/data.mdb         id -> lz4 frame of a msgpack map: input_ids without special tokens, img_fname, target, ...
    <folder>/meta.json        {"CLS": 101, "SEP": 102, "MASK": 103, "v_range": [106, 28996], "tokenizer": ...}
    <folder>/id2len.json      id -> length of input_ids
    <folder>/txt2img.json     id -> file with the picture's regions
    <folder>/img2txts.json    the other way round

Source: ChenRocks/UNITER @1dbfa62, data/data.py (TxtLmdb, TxtTokLmdb), data/vqa.py, data/nlvr2.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError, InvalidArgumentError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.data.lmdb_file import LmdbFile, load_optional
from vlp_models.data.msgpack_arrays import unpack_map

_SUFFIX = ".npz"
_MAX_STORED_BYTES = 4 * 1024 * 1024
_MAX_EXAMPLE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UniterVocabulary:
    """Special tokens of the tokenizer that made the database.

    Attributes:
        cls, sep, mask: token ids.
        ordinary: first and one past the last id that masking may draw a random token from.
        tokenizer: its name, such as "bert-base-cased"; "" where the file has none.
    """

    cls: int
    sep: int
    mask: int
    ordinary: tuple[int, int]
    tokenizer: str = ""


@dataclass(frozen=True, slots=True)
class UniterExample:
    """A text with its picture or pictures.

    Attributes:
        id: key of the database.
        input_ids: without special tokens.
        picture_ids: of the image database, without .npz; two for NLVR2.
        labels: numbers of the accepted answers or classes; empty where the target is not known.
        scores: of the labels, 0 to 1.
        raw: everything that the database has of it.
    """

    id: str
    input_ids: tuple[int, ...]
    picture_ids: tuple[str, ...]
    labels: tuple[int, ...]
    scores: tuple[float, ...]
    raw: Mapping[str, Any]


class UniterTextLmdb:
    """Examples by id.

    Args:
        folder: of the database.
        max_tokens: longer texts are left out of `ids`, special tokens not counted (60 in UNITER's training); -1
            leaves out none.

    Raises:
        ArtifactError: a file is missing, cut short, or not what it should be.
        ConfigError: lmdb, lz4 or msgpack are not installed.
    """

    def __init__(self, folder: Path, max_tokens: int = -1) -> None:
        load_optional("lz4.frame", str(folder))
        load_optional("msgpack", str(folder))
        self.vocabulary = _read_vocabulary(folder / "meta.json")
        lengths = _read_lengths(folder / "id2len.json")
        self.lengths = {key: length for key, length in lengths.items() if max_tokens == -1 or length <= max_tokens}
        self._folder = folder
        self._file = LmdbFile(folder, _MAX_STORED_BYTES)

    def ids(self) -> Sequence[str]:
        """Keys in the order of id2len.json."""
        return list(self.lengths)

    def example(self, example_id: str) -> UniterExample:
        """Read an example.

        Raises:
            InvalidArgumentError: it is not there, or is damaged.
        """
        stored = self._file.get(example_id)
        if stored is None:
            raise InvalidArgumentError(f"{self._folder}: no example {example_id!r:.80}")
        try:
            return _parse(example_id, unpack_map(_decompress(stored)))
        except ValueError as error:
            raise InvalidArgumentError(f"{self._folder.name}, example {example_id!r:.80}: {error}") from error

    def with_special_tokens(self, *texts: Sequence[int]) -> list[int]:
        """[CLS] first text [SEP], second text [SEP] ..."""
        combined = [self.vocabulary.cls]
        for text in texts:
            combined += [*text, self.vocabulary.sep]
        return combined

    def close(self) -> None:
        """Close the LMDB."""
        self._file.close()


def read_pictures_of_texts(folder: Path) -> dict[str, tuple[str, ...]]:
    """Example's id -> ids of its pictures, from txt2img.json.

    Raises:
        ArtifactError: the file is missing, or is not of that form.
    """
    path = folder / "txt2img.json"
    try:
        return {example_id: _picture_ids(names) for example_id, names in read_json_object(path).items()}
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _read_vocabulary(path: Path) -> UniterVocabulary:
    meta = read_json_object(path)
    bounds = meta.get("v_range")
    if not isinstance(bounds, list) or len(bounds) != 2:
        bounds = [None, None]
    numbers = [meta.get("CLS"), meta.get("SEP"), meta.get("MASK"), *bounds]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ArtifactError(f"{path}: expected token ids under CLS, SEP and MASK, and two under v_range")
    cls, sep, mask, first, end = numbers
    name = meta.get("tokenizer", meta.get("bert", ""))
    return UniterVocabulary(cls, sep, mask, (first, end), name if isinstance(name, str) else "")


def _read_lengths(path: Path) -> dict[str, int]:
    lengths = read_json_object(path)
    for key, length in lengths.items():
        if type(length) is not int or length < 0:
            raise ArtifactError(f"{path}: {key!r:.80}: expected a number of tokens")
    return lengths


def _decompress(stored: bytes) -> bytes:
    """An lz4 frame's content, no longer than a limit whatever its header says."""
    frame = load_optional("lz4.frame", "lz4")
    decompressor = frame.LZ4FrameDecompressor()
    try:
        content: bytes = decompressor.decompress(stored, max_length=_MAX_EXAMPLE_BYTES + 1)
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"not an lz4 frame, or a damaged one ({error})") from error
    if len(content) > _MAX_EXAMPLE_BYTES:
        raise ValueError(f"over {_MAX_EXAMPLE_BYTES} bytes")
    if not decompressor.eof:
        raise ValueError("an lz4 frame that is cut short")
    return content


def _parse(example_id: str, raw: dict[Any, Any]) -> UniterExample:
    tokens = raw.get("input_ids")
    if not isinstance(tokens, list) or not all(type(token) is int and token >= 0 for token in tokens):
        raise ValueError("input_ids: expected a list of token ids")
    labels, scores = _target(raw.get("target"))
    return UniterExample(example_id, tuple(tokens), _picture_ids(raw.get("img_fname")), labels, scores, raw)


def _picture_ids(names: Any) -> tuple[str, ...]:
    """One file's name, or a list of them."""
    listed = names if isinstance(names, list) else [names]
    if not listed or not all(isinstance(name, str) and name for name in listed):
        raise ValueError("expected the name of a picture's file, or a list of them")
    return tuple(name.removesuffix(_SUFFIX) for name in listed)


def _target(target: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Labels and scores of a VQA or entailment target, of NLVR2's 0 or 1, or of none."""
    if target is None:
        return (), ()
    if type(target) is int and target >= 0:
        return (target,), (1.0,)
    labels, scores = (target.get("labels"), target.get("scores")) if isinstance(target, dict) else (None, None)
    if not isinstance(labels, list) or not isinstance(scores, list) or len(labels) != len(scores):
        raise ValueError("target: expected labels and as many scores, a label, or none")
    if not all(type(label) is int and label >= 0 for label in labels):
        raise ValueError("target.labels: expected numbers of labels")
    if not all(type(score) in (int, float) and 0 <= score <= 1 for score in scores):
        raise ValueError("target.scores: expected numbers from 0 to 1")
    return tuple(labels), tuple(map(float, scores))
