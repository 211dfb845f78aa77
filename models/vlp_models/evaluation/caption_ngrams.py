"""Runs of words, as BLEU and CIDEr count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

LONGEST = 4
Words = Sequence[str]
Ngrams = tuple[Counter[tuple[str, ...]], ...]
"""How often each run of one word is there, each of two, ... up to four."""


def count_ngrams(words: Words) -> Ngrams:
    """Every run of one to four words with its number."""
    return tuple(
        Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))
        for length in range(1, LONGEST + 1)
    )


def check_corpus(generated: Sequence[Words], references: Sequence[Sequence[Words]]) -> None:
    """See that every picture has one generated caption and a reference.

    Raises:
        ValueError: there is no picture, or one lacks a reference, or the two are not of equal length.
    """
    if not generated or len(generated) != len(references):
        raise ValueError(f"got {len(generated)} captions for {len(references)} pictures, expected one each")
    for number, own in enumerate(references):
        if not own:
            raise ValueError(f"picture {number}: no reference to compare with")
