from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vlp_models.data.records import PictureRecord
from vlp_models.evaluation.published_recall import published_recall

SET = Path(__file__).parents[3] / "golden" / "uniter_itm_eval"
RIGHT, WORDS, COUNTED = (
    "words -> own picture",
    "pictures -> own words",
    "words -> own picture, as UNITER's script counts",
)


def test_both_counts_are_the_official_ones() -> None:
    with np.load(SET / "inputs.npz") as arrays:
        scores, owners = arrays["score_matrix"], arrays["txt2img_col"]
    with np.load(SET / "outputs.npz") as arrays:
        expected = {name: float(arrays[name]) for name in arrays}
    captions = [f"text {number}" for number in range(len(owners))]
    own: list[list[str]] = [[] for _ in range(scores.shape[1])]
    for caption, owner in zip(captions, owners, strict=True):
        own[owner].append(caption)
    records = [PictureRecord(str(number), "", tuple(texts), ()) for number, texts in enumerate(own)]
    # The published count goes by the number of a text, so texts are told in the order of their pictures.
    ordered = [caption for texts in own for caption in texts]
    found = published_recall(scores[[captions.index(caption) for caption in ordered]], records, ordered)
    for k in (1, 5, 10):
        assert found[RIGHT][k] == pytest.approx(expected[f"corrected.img_r{k}"], abs=1e-6)
        assert found[WORDS][k] == pytest.approx(expected[f"corrected.txt_r{k}"], abs=1e-6)
        assert found[COUNTED][k] >= found[RIGHT][k]
    if (np.diff(owners) >= 0).all():
        assert found[COUNTED] == {k: pytest.approx(expected[f"official.img_r{k}"], abs=1e-6) for k in (1, 5, 10)}


def test_a_caption_of_two_pictures_is_two_texts_and_captions_that_were_not_asked_are_none() -> None:
    records = [PictureRecord("a", "", ("both", "unasked"), ()), PictureRecord("b", "", ("both",), ())]
    found = published_recall(np.array([[0.9, 0.1]], np.float32), records, ["both"])
    assert found[RIGHT][1] == 0.5
    assert found[WORDS] == {1: 0.5, 5: 1.0, 10: 1.0}  # equal texts have equal scores; one of them comes first
