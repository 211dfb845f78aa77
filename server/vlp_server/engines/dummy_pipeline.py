"""The dummy family's pipelines: pictures are really decoded and checked, texts really split, answers made up.

What they share with the real ones (picture and text limits, ranking, padding) is theirs; only the meaning is missing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from vlp_pipeline.images import ImageLimits, open_picture
from vlp_pipeline.pipeline import Buckets, Item, Padding, PreparedImage, Scoring, pad_batch, padded_sizes
from vlp_pipeline.registry import Pipeline
from vlp_pipeline.text import TextLimits, check_text
from vlp_pipeline.vqa import AnswerRanker, sigmoid
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InferenceError, InvalidArgumentError
from vlp_spec.tasks import Task, VqaQuery, VqaResult

from vlp_server.engines.dummy import FAIL_TOKEN, NAN_TOKEN, POISON_TOKEN, STALL_TOKEN
from vlp_server.engines.dummy_deployment import CELL_BYTES, DUMMY_DIMENSION, DUMMY_FAMILY, DUMMY_LABELS

MAGIC_WORDS = {"[fail]": FAIL_TOKEN, "[nan]": NAN_TOKEN, "[stall]": STALL_TOKEN, "[poison]": POISON_TOKEN}
_WORD_IDS = 30_000
_CELL_PIXELS = 32
_MAX_CELLS_A_SIDE = 16
_PADDINGS = {
    "patches": Padding("patches"),
    "grid": Padding(),
    "input_ids": Padding("text"),
    "text_mask": Padding("text"),
}


def build_dummy_pipeline(deployment: Deployment, image_limits: ImageLimits, text_limits: TextLimits) -> Pipeline:
    """The pipeline of a dummy deployment's kind."""
    if Task.EMBEDDINGS in deployment.tasks:
        return DummyEmbeddingPipeline(deployment, image_limits, text_limits)
    if Task.MATCH in deployment.tasks:
        return DummyMatchPipeline(deployment, image_limits, text_limits)
    return DummyVqaPipeline(deployment, image_limits, text_limits)


class _DummyArrays:
    """From pictures and words to arrays.

    A picture becomes a grid of mean colours, one cell for 32 pixels, 16 x 16 cells at most; a word becomes a hash.
    The words of MAGIC_WORDS become the tokens that make the dummy engine misbehave.
    """

    family = DUMMY_FAMILY

    def __init__(self, deployment: Deployment, image_limits: ImageLimits, text_limits: TextLimits) -> None:
        self._image_limits = image_limits
        self._text_limits = text_limits
        self._max_words = deployment.axes["text"].max

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
        paddings = {name: padding for name, padding in _PADDINGS.items() if name in items[0].arrays}
        return pad_batch(items, paddings, padded_sizes(items, {}, buckets))

    def _text(self, text: str, field: str) -> dict[str, np.ndarray]:
        """Split a text into words; more than the graph takes are cut off."""
        check_text(text, field, self._text_limits)
        words = text.lower().split()[: self._max_words]
        ids = np.array([_word_id(word) for word in words], dtype=np.int32)
        return {"input_ids": ids, "text_mask": np.ones_like(ids)}

    def _pair(self, image: PreparedImage, text: str, field: str) -> Item:
        arrays = self._text(text, field)
        return Item({**image.arrays, **arrays}, {**image.sizes, "text": len(arrays["input_ids"])})


class DummyVqaPipeline(_DummyArrays):
    """See vlp_pipeline.pipeline.VqaPipeline."""

    _ranker = AnswerRanker(DUMMY_LABELS)

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Join a picture and the words of a question."""
        item = self._pair(image, query.question, "question")
        if query.candidates is not None:
            self._ranker.find_candidates(query.candidates)
        return item

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """Rank the made-up answers."""
        return self._ranker.rank(_output(outputs, "logits"), query)


class DummyEmbeddingPipeline(_DummyArrays):
    """See vlp_pipeline.pipeline.EmbeddingPipeline. Equal content gives equal vectors, and any other content others."""

    dimension = DUMMY_DIMENSION
    logit_scale = 10.0
    logit_bias = 0.0
    scoring: Scoring = "softmax"

    def image_item(self, image: PreparedImage) -> Item:
        """A picture for the graph with role "image"."""
        return Item(image.arrays, image.sizes, "image")

    def text_item(self, text: str) -> Item:
        """A text for the graph with role "text"."""
        if not text.strip():
            raise InvalidArgumentError("text: empty", field="text")
        arrays = self._text(text, "text")
        return Item(arrays, {"text": len(arrays["input_ids"])}, "text")

    def embedding(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The made-up vector at length 1."""
        vector = _output(outputs, "image_embeds" if "image_embeds" in outputs else "text_embeds").astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class DummyMatchPipeline(_DummyArrays):
    """See vlp_pipeline.pipeline.MatchPipeline."""

    def prepare(self, image: PreparedImage, text: str) -> Item:
        """Join a picture and the words of a text."""
        return self._pair(image, text, "text")

    def score(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The made-up probability."""
        return float(sigmoid(_output(outputs, "itm"))[0])


def _output(outputs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in outputs:
        raise InferenceError(f"model output: no {name!r} among {sorted(outputs)}")
    return outputs[name]


def _word_id(word: str) -> int:
    """1 to 30000, the same in every process; never 0, which is padding."""
    return MAGIC_WORDS.get(word) or zlib.crc32(word.encode()) % _WORD_IDS + 1
