"""Captions that nobody writes: those of training pictures, by how alike a dual encoder finds them, or how frequent.

Source: Devlin et al., "Exploring Nearest Neighbor Approaches for Image Captioning" (2015), with one neighbour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from vlp_models.data.records import PictureRecord
from vlp_models.data.sources import RawPicture

NEAREST_PICTURE = "of the nearest training picture"
NEAREST_CAPTION = "the nearest training caption"
MOST_FREQUENT = "the most frequent training caption"
_ROWS = 256


class Encoder(Protocol):
    """What makes vectors of pictures and texts that can be compared; see `EncoderGraphs`."""

    def embed_images(self, images: Iterable[bytes], watch: Callable[[int], None]) -> np.ndarray:
        """(pictures, dimension) float32 of length 1."""
        ...

    def embed_texts(self, texts: Iterable[str], watch: Callable[[int], None]) -> np.ndarray:
        """(texts, dimension) float32 of length 1."""
        ...


def baseline_captions(
    encoder: Encoder, images: Iterable[bytes], training: Iterable[RawPicture], watch: Callable[[int], None]
) -> dict[str, list[str]]:
    """What each baseline says of each picture, by the baseline's name.

    A training picture has several captions; its first one stands for it, as any would.

    Args:
        encoder: compares.
        images: encoded pictures.
        training: pictures with their captions; those without one are left out.
        watch: told of every further vector.

    Raises:
        ValueError: no training picture has a caption.
        RequestError: a picture cannot be read.
    """
    records: list[PictureRecord] = []

    def captioned() -> Iterator[bytes]:
        for raw in training:
            if raw.record.captions:
                records.append(raw.record)
                yield raw.image

    vectors = encoder.embed_images(images, watch)
    train_vectors = encoder.embed_images(captioned(), watch)
    captions = list(dict.fromkeys(caption for record in records for caption in record.captions))
    return {
        NEAREST_PICTURE: nearest_captions(vectors, train_vectors, [record.captions[0] for record in records]),
        NEAREST_CAPTION: nearest_captions(vectors, encoder.embed_texts(captions, watch), captions),
        MOST_FREQUENT: [most_frequent_caption(records)] * len(vectors),
    }


def nearest_captions(vectors: np.ndarray, others: np.ndarray, captions: Sequence[str]) -> list[str]:
    """For each picture the caption of what is most like it.

    Args:
        vectors: (pictures, dimension) float of length 1.
        others: (n, dimension) float of length 1, of pictures or of texts; of equals the first is taken.
        captions: (n,), one each.
    """
    found: list[str] = []
    for start in range(0, len(vectors), _ROWS):
        nearest = np.argmax(vectors[start : start + _ROWS] @ others.T, axis=1)
        found += [captions[row] for row in nearest]
    return found


def most_frequent_caption(records: Iterable[PictureRecord]) -> str:
    """The caption that is there most often; of equals the first in alphabetical order.

    Raises:
        ValueError: no record has a caption.
    """
    counts = Counter(caption for record in records for caption in record.captions)
    return min(counts, key=lambda caption: (-counts[caption], caption))
