"""BLEU of a set of captions, as the COCO caption tools compute it.

Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (ACL 2002), in the form of
github.com/tylin/coco-caption, pycocoevalcap/bleu: over the whole set, with the closest reference's length.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from vlp_models.evaluation.caption_ngrams import LONGEST, Words, check_corpus, count_ngrams

# The tools add these to counts, so that nothing is divided by zero and a BLEU without a single match is not quite 0.
_IN_NUMERATOR, _IN_DENOMINATOR = 1e-15, 1e-9


def corpus_bleu(generated: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4, 0 to 1.

    Args:
        generated: the words of one caption a picture.
        references: the words of each picture's references, one at least.

    Raises:
        ValueError: there is no picture, or one lacks a reference, or the two are not of equal length.
    """
    check_corpus(generated, references)
    matched, possible = [0] * LONGEST, [0] * LONGEST
    length = reference_length = 0
    for words, own in zip(generated, references, strict=True):
        length += len(words)
        reference_length += _closest_length(len(words), own)
        for place, (count, found) in enumerate(_matches(words, own)):
            possible[place] += count
            matched[place] += found
    shortness = (length + _IN_NUMERATOR) / (reference_length + _IN_DENOMINATOR)
    penalty = math.exp(1 - 1 / shortness) if shortness < 1 else 1.0
    product, scores = 1.0, []
    for order in range(1, LONGEST + 1):
        product *= (matched[order - 1] + _IN_NUMERATOR) / (possible[order - 1] + _IN_DENOMINATOR)
        scores.append(penalty * product ** (1 / order))
    return scores[0], scores[1], scores[2], scores[3]


def _closest_length(length: int, references: Sequence[Words]) -> int:
    """The reference length nearest to `length`; the smaller of equals."""
    return min((len(words) for words in references), key=lambda own: (abs(own - length), own))


def _matches(words: Words, references: Sequence[Words]) -> list[tuple[int, int]]:
    """For each length of runs: how many there are, and how many are in a reference, none more often than there."""
    most: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(LONGEST)]
    for reference in references:
        for place, counts in enumerate(count_ngrams(reference)):
            most[place] |= counts
    return [(counts.total(), (counts & most[place]).total()) for place, counts in enumerate(count_ngrams(words))]
