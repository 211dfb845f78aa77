"""From pictures, regions and words to the arrays of the dummy graphs."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from vlp_pipeline.images import ImageLimits, open_picture
from vlp_pipeline.pipeline import PAIR_PREFIXES, Buckets, Item, Padding, PreparedImage, pad_batch, padded_sizes
from vlp_pipeline.text import TextLimits, check_text
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InferenceError

from vlp_server.engines.dummy import FAIL_TOKEN, NAN_TOKEN, POISON_TOKEN, STALL_TOKEN
from vlp_server.engines.dummy_deployment import CELL_BYTES, DUMMY_FAMILY

MAGIC_WORDS = {"[fail]": FAIL_TOKEN, "[nan]": NAN_TOKEN, "[stall]": STALL_TOKEN, "[poison]": POISON_TOKEN}
_WORD_IDS = 30_000
_WORD = re.compile(r"\S+")
_CELL_PIXELS = 32
_MAX_CELLS_A_SIDE = 16
# Input -> the dynamic axis that it grows along; inputs that are not named have one size.
_AXES = {
    "patches": "patches",
    "region_features": "regions",
    "region_positions": "regions",
    "region_mask": "regions",
    "input_ids": "text",
    "text_mask": "text",
}


class DummyWords:
    """Words for tokens; a TokenCounter.

    Args:
        most: words that a graph takes.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def tokens_read(self, text: str) -> int:
        """The words that a graph is given."""
        return min(len(text.split()), self._most)

    def token_ends(self, text: str) -> list[int]:
        """Where each word ends."""
        return [found.end() for found in _WORD.finditer(text)]


class DummyArrays:
    """What all dummy pipelines share.

    A picture becomes a grid of mean colours, one cell for 32 pixels, 16 x 16 cells at most; a word becomes a hash.
    The words of MAGIC_WORDS become the tokens that make the dummy engine misbehave.
    """

    family = DUMMY_FAMILY

    def __init__(self, deployment: Deployment, image_limits: ImageLimits, text_limits: TextLimits) -> None:
        self._image_limits = image_limits
        self._text_limits = text_limits
        self._max_words = deployment.axes["text"].max
        self.text_processor = DummyWords(self._max_words)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode a picture and take the mean colours of its cells."""
        picture = open_picture(data, self._image_limits)
        columns, rows = (min(_MAX_CELLS_A_SIDE, max(1, side // _CELL_PIXELS)) for side in picture.size)
        cells = np.asarray(picture.resize((columns, rows), Image.Resampling.BOX), dtype=np.uint8)
        return PreparedImage(
            digest=hashlib.sha256(data).hexdigest(),
            arrays={
                "patches": cells.reshape(rows * columns, CELL_BYTES),
                "grid": np.array([rows, columns], dtype=np.int32),
            },
            sizes={"patches": rows * columns},
        )

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items, padded with zeros."""
        paddings = {name: _padding(name) for name in items[0].arrays}
        return pad_batch(items, paddings, padded_sizes(items, {}, buckets))

    def _words(self, text: str, field: str) -> dict[str, np.ndarray]:
        """Split a text into words; more than the graph takes are cut off."""
        check_text(text, field, self._text_limits)
        words = text.lower().split()[: self._max_words]
        ids = np.array([_word_id(word) for word in words], dtype=np.int32)
        return {"input_ids": ids, "text_mask": np.ones_like(ids)}

    def _join(self, images: Sequence[PreparedImage], text: str, field: str) -> Item:
        """A text with its picture, or with its two: the left one first."""
        arrays = self._words(text, field)
        sizes = {"text": len(arrays["input_ids"])}
        for prefix, image in zip(("",) if len(images) == 1 else PAIR_PREFIXES, images, strict=True):
            arrays |= {f"{prefix}{name}": array for name, array in image.arrays.items()}
            sizes |= {f"{prefix}{axis}": size for axis, size in image.sizes.items()}
        return Item(arrays, sizes)


def output_of(outputs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """One row of an output.

    Raises:
        InferenceError: there is none of this name.
    """
    if name not in outputs:
        raise InferenceError(f"model output: no {name!r} among {sorted(outputs)}")
    return outputs[name]


def boxes_of(corners: np.ndarray) -> np.ndarray:
    """Boxes of any numbers.

    Args:
        corners: (n, 4) float, two opposite corners x, y, x, y as logits.

    Returns:
        (n, 4) float32, x0 < x1 and y0 < y1, shares within 0 to 1.
    """
    shares = (1.0 / (1.0 + np.exp(-corners.astype(np.float64)))).reshape(-1, 2, 2)
    least, most = shares.min(axis=1) * 0.9, shares.max(axis=1) * 0.9 + 0.1
    return np.concatenate([least, most], axis=1).astype(np.float32)


def _padding(name: str) -> Padding:
    prefix = next((prefix for prefix in PAIR_PREFIXES if name.startswith(prefix)), "")
    axis = _AXES.get(name.removeprefix(prefix))
    return Padding(None if axis is None else f"{prefix}{axis}")


def _word_id(word: str) -> int:
    """1 to 30000, the same in every process; never 0, which is padding."""
    return MAGIC_WORDS.get(word) or zlib.crc32(word.encode()) % _WORD_IDS + 1
