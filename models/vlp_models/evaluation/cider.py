"""CIDEr of a set of captions, as the COCO caption tools compute it; in the paper's words this is CIDEr-D.

Source: Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation" (CVPR 2015), in the form of
github.com/tylin/coco-caption, pycocoevalcap/cider: n to 4, sigma 6, rarity counted in the references themselves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vlp_models.evaluation.caption_ngrams import LONGEST, Ngrams, Words, check_corpus, count_ngrams

_SIGMA = 6.0
_SCALE = 10.0


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A caption's runs of words by their weight.

    Attributes:
        weights: for each length of runs, number times rarity of each.
        norms: the Euclidean length of each.
        length: runs of two words, by which the tools measure how long a caption is.
    """

    weights: tuple[dict[tuple[str, ...], float], ...]
    norms: tuple[float, ...]
    length: int


def corpus_cider(generated: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """Mean over pictures, 0 to 10; papers give it times 100.

    What all pictures say counts for nothing, so that one picture alone always gets 0.

    Args:
        generated: the words of one caption a picture.
        references: the words of each picture's references, one at least.

    Raises:
        ValueError: there is no picture, or one lacks a reference, or the two are not of equal length.
    """
    check_corpus(generated, references)
    counted = [[count_ngrams(words) for words in own] for own in references]
    pictures: Counter[tuple[str, ...]] = Counter()
    for own in counted:
        pictures.update({ngram for ngrams in own for counts in ngrams for ngram in counts})
    of_all = math.log(len(references))
    rarity = {ngram: of_all - math.log(number) for ngram, number in pictures.items()}
    total = 0.0
    for words, own in zip(generated, counted, strict=True):
        caption = _weigh(count_ngrams(words), rarity, of_all)
        likeness = sum(_likeness(caption, _weigh(ngrams, rarity, of_all)) for ngrams in own)
        total += _SCALE * likeness / len(own)
    return total / len(references)


def _weigh(ngrams: Ngrams, rarity: dict[tuple[str, ...], float], unseen: float) -> _Weighed:
    weights = tuple(
        {ngram: number * rarity.get(ngram, unseen) for ngram, number in counts.items()} for counts in ngrams
    )
    norms = tuple(math.sqrt(sum(weight * weight for weight in own.values())) for own in weights)
    return _Weighed(weights, norms, ngrams[1].total())


def _likeness(caption: _Weighed, reference: _Weighed) -> float:
    """The mean over lengths of runs, 0 to 1; what is said more often than in the reference does not add to it."""
    total = 0.0
    for own, other, norm, other_norm in zip(
        caption.weights, reference.weights, caption.norms, reference.norms, strict=True
    ):
        shared = sum(min(weight, other[ngram]) * other[ngram] for ngram, weight in own.items() if ngram in other)
        if norm and other_norm:
            total += shared / (norm * other_norm)
    difference = caption.length - reference.length
    return total / LONGEST * math.exp(-(difference**2) / (2 * _SIGMA**2))
