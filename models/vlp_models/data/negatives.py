"""False pictures for image-text matching, taken from the batch."""

from __future__ import annotations

import numpy as np

NEGATIVES = ("random", "hard")


def draw_false_pictures(
    pictures: np.ndarray, input_ids: np.ndarray, text_mask: np.ndarray, rule: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Give half of the texts a picture that is not theirs.

    Args:
        pictures: (B,) int, the true picture of each text.
        input_ids: (B, T) the texts.
        text_mask: (B, T).
        rule: "random" = any other picture of the batch; "hard" = one of the three whose texts share most words
            with this one.
        rng: the source of chance.

    Returns:
        Pictures (B,) to show, and labels (B,) int64: 1 = the true one. A batch of one picture has no false one.
    """
    count = len(pictures)
    wants_false = np.zeros(count, dtype=bool)
    wants_false[rng.permutation(count)[: count // 2]] = True
    scores = rng.random((count, count))
    if rule == "hard":
        overlap = _shared_words(input_ids, text_mask)
        # Not always the closest: texts of equal words would choose the same picture in every epoch.
        scores = np.where(overlap >= np.sort(overlap, axis=1)[:, -min(3, count) :][:, :1], scores + 1, scores)
    scores[pictures[:, None] == pictures[None, :]] = -1.0
    chosen = scores.argmax(axis=1)
    is_false = wants_false & (scores.max(axis=1) >= 0)
    return np.where(is_false, pictures[chosen], pictures), np.where(is_false, 0, 1).astype(np.int64)


def _shared_words(input_ids: np.ndarray, text_mask: np.ndarray) -> np.ndarray:
    """(B, B) Jaccard overlap of the token sets, a text with itself 0."""
    tokens, columns = np.unique(np.where(text_mask > 0, input_ids, -1), return_inverse=True)
    present = np.zeros((len(input_ids), len(tokens)), dtype=np.float32)
    np.put_along_axis(present, columns.reshape(input_ids.shape), 1.0, axis=1)
    present[:, tokens == -1] = 0.0
    both = present @ present.T
    sizes = present.sum(axis=1)
    overlap = both / np.maximum(sizes[:, None] + sizes[None, :] - both, 1.0)
    np.fill_diagonal(overlap, 0.0)
    return np.asarray(overlap)
