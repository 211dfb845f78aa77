"""Pictures and texts for the proof: made up, or a person's own from a JSONL file.

Made-up samples cover what a graph must bear: pictures of every shape the processor gives, down to a single row or
column of patches, and texts from one word to over the limit. They do not look like anybody's data, so agreement on
them says little about answers; for that, name a file of real samples.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task

_SIZES = ((640, 480), (480, 640), (500, 500), (1200, 100), (90, 1100), (333, 251), (64, 48), (1920, 1080), (37, 41))
_COARSE = 12
_WORD_MARKS = (("", "</w>"), ("\u2581", ""), ("", ""))
"""Of CLIP's byte pairs, of SentencePiece, and none."""


@dataclass(frozen=True, slots=True)
class RawSample:
    """A picture file's bytes and a question or caption, as a client would send them."""

    image: bytes
    text: str


def made_up_samples(tokenizer_json: str, max_length: int, count: int, seed: int = 0) -> list[RawSample]:
    """Random pictures with structure at several scales, and random words of the tokenizer's vocabulary.

    Args:
        tokenizer_json: content of tokenizer.json; empty for a model that reads no text.
        max_length: tokens that the model reads; every fourth text is longer.
        count: how many.
        seed: the same seed gives the same samples.
    """
    random = np.random.default_rng(seed)
    words = _words(tokenizer_json) if tokenizer_json else ["a"]
    samples = []
    for number in range(count):
        width, height = _SIZES[number % len(_SIZES)]
        length = max_length + 3 if number % 4 == 3 else int(random.integers(1, max(2, max_length - 2)))
        text = " ".join(words[int(index)] for index in random.integers(0, len(words), length))
        samples.append(RawSample(_picture(random, width, height), text))
    return samples


def dataset_samples(path: Path, count: int, task: Task = Task.VQA) -> list[RawSample]:
    """Samples of a JSONL dataset, spread over the file.

    Args:
        path: {"image": path, "questions": [{"question": ...}], "captions": [...]} a line; image paths are relative to
            its folder.
        count: at most so many.
        task: questions are taken for VQA, captions for every other task.

    Raises:
        ArtifactError: no such file, a line that is not such a record, or no question or caption in the file.
    """
    if not path.is_file():
        raise ArtifactError(f"proof data {path}: no such file")
    pairs = list(_read_pairs(path, task))
    if not pairs:
        raise ArtifactError(f"proof data {path}: holds no {'question' if task is Task.VQA else 'caption'}")
    step = max(len(pairs) / count, 1.0)
    chosen = [pairs[int(number * step)] for number in range(min(count, len(pairs)))]
    return [RawSample(_read_image(path.parent / image, path), text) for image, text in chosen]


def _read_pairs(path: Path, task: Task) -> Iterator[tuple[str, str]]:
    what = "questions" if task is Task.VQA else "captions"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            for item in record.get(what, ()):
                yield str(record["image"]), str(item["question"] if task is Task.VQA else item)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"proof data {path.name}:{number}: not a record with image and {what}") from error


def _read_image(path: Path, dataset: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"proof data {dataset.name}: cannot read image {path.name}: {error.strerror}") from error


def _words(tokenizer_json: str) -> list[str]:
    """Whole words, in a fixed order; whatever tokens there are where a vocabulary has none."""
    tokens = sorted(token for token in Tokenizer.from_str(tokenizer_json).get_vocab() if not token.startswith("["))
    for start, end in _WORD_MARKS:
        # A vocabulary that marks where words begin or end has pieces of words without the mark.
        marked = [token for token in tokens if token.startswith(start) and token.endswith(end)]
        words = [word for word in (token.removeprefix(start).removesuffix(end) for token in marked) if word.isalpha()]
        if words:
            return words
    return tokens or ["a"]


def _picture(random: np.random.Generator, width: int, height: int) -> bytes:
    """A smooth background, rectangles and grain: flat, steep and noisy patches in one JPEG."""
    coarse = random.integers(0, 256, (_COARSE, _COARSE, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    for _ in range(4):
        left, top = int(random.integers(0, width)), int(random.integers(0, height))
        pixels[top : top + height // 3 + 1, left : left + width // 3 + 1] = random.integers(0, 256, 3)
    pixels = np.clip(pixels + random.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
