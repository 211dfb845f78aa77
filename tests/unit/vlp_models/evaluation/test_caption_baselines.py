from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from vlp_models.data.records import PictureRecord
from vlp_models.data.sources import RawPicture
from vlp_models.evaluation.caption_baselines import (
    MOST_FREQUENT,
    NEAREST_CAPTION,
    NEAREST_PICTURE,
    baseline_captions,
    most_frequent_caption,
    nearest_captions,
)

ANGLES = {"east": 0.0, "north": 90.0, "west": 180.0, "a": 10.0, "b": 80.0, "c": 95.0, "d": 170.0, "e": -5.0}


class Compass:
    """Pictures and texts are directions, by their names."""

    def embed_images(self, images: Iterable[bytes], watch: Callable[[int], None]) -> np.ndarray:
        return self.embed_texts([image.decode() for image in images], watch)

    def embed_texts(self, texts: Iterable[str], watch: Callable[[int], None]) -> np.ndarray:
        angles = np.radians([ANGLES[text] for text in texts])
        watch(len(angles))
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def raw(image: str, *captions: str) -> RawPicture:
    return RawPicture(image, PictureRecord(image, "", captions, ()), image.encode())


def test_each_baseline_says_a_training_caption() -> None:
    training = [raw("east", "d", "e"), raw("b"), raw("north", "c", "d"), raw("west", "b")]
    watched: list[int] = []
    said = baseline_captions(Compass(), [b"a", b"d", b"b"], training, watched.append)
    # The picture "b" has no caption, so that "north" is nearest to it.
    assert said == {
        NEAREST_PICTURE: ["d", "b", "c"],
        NEAREST_CAPTION: ["e", "d", "b"],
        MOST_FREQUENT: ["d", "d", "d"],
    }
    assert watched == [3, 3, 4]


def test_of_equally_near_ones_the_first_is_taken() -> None:
    vectors = np.eye(2, dtype=np.float32)
    assert nearest_captions(vectors, vectors[[1, 0, 1, 0]], ["p", "q", "r", "s"]) == ["q", "p"]


def test_many_pictures_are_compared_as_few_are() -> None:
    rng = np.random.default_rng(0)
    vectors, others = rng.normal(size=(600, 4)), rng.normal(size=(50, 4))
    names = [str(number) for number in range(50)]
    found = nearest_captions(vectors, others, names)
    assert found == [max(names, key=lambda name: float(one @ others[int(name)])) for one in vectors]


def test_of_equally_frequent_captions_the_first_by_alphabet_is_taken() -> None:
    records = [raw("", "b", "a").record, raw("", "c", "b").record, raw("", "a").record]
    assert most_frequent_caption(records) == "a"


def test_without_training_captions_there_is_no_baseline() -> None:
    with pytest.raises(ValueError, match="empty"):
        most_frequent_caption([raw("east").record])
