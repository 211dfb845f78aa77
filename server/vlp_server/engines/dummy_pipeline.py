"""The dummy family's pipeline: pictures are really decoded and checked, questions really split, answers made up.

What it shares with the real ones (picture and text limits, ranking, padding) is theirs; only the meaning is missing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from vlp_pipeline.images import ImageLimits, open_picture
from vlp_pipeline.pipeline import Buckets, Item, Padding, PreparedImage, pad_batch, padded_sizes
from vlp_pipeline.text import TextLimits, check_text
from vlp_pipeline.vqa import AnswerRanker
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InferenceError
from vlp_spec.tasks import VqaQuery, VqaResult

from vlp_server.engines.dummy import FAIL_TOKEN, NAN_TOKEN, POISON_TOKEN, STALL_TOKEN
from vlp_server.engines.dummy_deployment import CELL_BYTES, DUMMY_FAMILY, DUMMY_LABELS

MAGIC_WORDS = {"[fail]": FAIL_TOKEN, "[nan]": NAN_TOKEN, "[stall]": STALL_TOKEN, "[poison]": POISON_TOKEN}
_WORD_IDS = 30_000
_CELL_PIXELS = 32
_MAX_CELLS_A_SIDE = 16


class DummyVqaPipeline:
    """See vlp_pipeline.pipeline.VqaPipeline.

    A picture becomes a grid of mean colours, one cell for 32 pixels, 16 x 16 cells at most; a word becomes a hash.
    The words of MAGIC_WORDS become the tokens that make the dummy engine misbehave.
    """

    family = DUMMY_FAMILY

    def __init__(self, deployment: Deployment, image_limits: ImageLimits, text_limits: TextLimits) -> None:
        self._image_limits = image_limits
        self._text_limits = text_limits
        self._max_words = deployment.axes["text"].max
        self._ranker = AnswerRanker(DUMMY_LABELS)

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

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Split the question into words; more than the graph takes are cut off."""
        check_text(query.question, "question", self._text_limits)
        if query.candidates is not None:
            self._ranker.find_candidates(query.candidates)
        words = query.question.lower().split()[: self._max_words]
        ids = np.array([_word_id(word) for word in words], dtype=np.int32)
        text = {"input_ids": ids, "text_mask": np.ones_like(ids)}
        return Item({**image.arrays, **text}, {**image.sizes, "text": len(ids)})

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items, padded with zeros."""
        paddings = {
            "patches": Padding("patches"),
            "grid": Padding(),
            "input_ids": Padding("text"),
            "text_mask": Padding("text"),
        }
        return pad_batch(items, paddings, padded_sizes(items, {}, buckets))

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """Rank the made-up answers."""
        if "logits" not in outputs:
            raise InferenceError(f"model output: no 'logits' among {sorted(outputs)}")
        return self._ranker.rank(outputs["logits"], query)


def _word_id(word: str) -> int:
    """1 to 30000, the same in every process; never 0, which is padding."""
    return MAGIC_WORDS.get(word) or zlib.crc32(word.encode()) % _WORD_IDS + 1
