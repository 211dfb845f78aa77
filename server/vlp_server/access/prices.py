"""What a request costs, as its fields tell it before any work. The unit is that of the core's queues.

One is a text token, or a patch of 32 x 32 pixels. Before a picture is decoded and a text split into tokens nobody knows
how many they are, so a picture counts as one of 384 x 384 pixels, and a text as a token for every four characters. A
model that sees text and picture together looks at the picture once for every text, and so it is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlp_spec.tasks import (
    CaptionQuery,
    ClassifyQuery,
    EntailmentQuery,
    GroundingQuery,
    MatchQuery,
    ReasoningQuery,
    VqaQuery,
)

BASE_COST = 10.0
"""Of every request, whatever it asks; paid before its body is read."""
PICTURE_COST = 144.0
"""Of one look at a picture: 12 x 12 patches."""
_CHARS_OF_A_TOKEN = 4
# Of 32 x 32 pixels in three colours.
_PATCH_BYTES = 3072
# Of a caption whose length is the model's own.
_CAPTION_TOKENS = 20
# A number that no server takes is refused later, and must not be owed.
_MOST_HITS = 1000

TextQuery = VqaQuery | MatchQuery | EntailmentQuery | ReasoningQuery | GroundingQuery
Query = TextQuery | CaptionQuery | ClassifyQuery


@dataclass(frozen=True, slots=True)
class Weight:
    """What a request asks for.

    Attributes:
        cost: text tokens + patches, without `BASE_COST`.
        words: that the caller sent, for a log that may have them.
    """

    cost: float
    words: tuple[str, ...] = ()


def text_cost(text: str) -> float:
    """Tokens of a text, about."""
    return float(max(1, math.ceil(len(text) / _CHARS_OF_A_TOKEN)))


def queries_weight(queries: Sequence[Query], pictures: int = 1) -> Weight:
    """Of what is asked of a picture, or of as many pictures at once."""
    return Weight(sum(_query_cost(query, pictures) for query in queries), tuple(_words(queries)))


def embedding_weight(texts: Sequence[str], pictures: int) -> Weight:
    """Of vectors of texts and pictures."""
    return Weight(sum(map(text_cost, texts)) + pictures * PICTURE_COST, tuple(texts))


def pictures_weight(pictures: int, vectors: int = 0) -> Weight:
    """Of pictures that are looked at once, as those that are put into a collection, and of ready vectors."""
    return Weight(pictures * PICTURE_COST + vectors)


def tensors_weight(size_bytes: int) -> Weight:
    """Of ready tensors that are put through a graph: their bytes stand for patches, as in the queues."""
    return Weight(max(1.0, size_bytes / _PATCH_BYTES))


def search_weight(text: str | None, pictures: int, looked_at_again: int = 0) -> Weight:
    """Of a search by a text, a picture, or a vector (neither), whose first hits are maybe looked at again."""
    words = () if text is None else (text,)
    found_by = text_cost(text) if text is not None else pictures * PICTURE_COST
    again = max(0, min(looked_at_again, _MOST_HITS)) * (PICTURE_COST + text_cost(text or ""))
    return Weight(max(1.0, found_by) + again, words)


def _query_cost(query: Query, pictures: int) -> float:
    seen = pictures * PICTURE_COST
    if isinstance(query, CaptionQuery):
        decoding = query.decoding
        rows = max(decoding.num_beams or 1, query.num_captions)
        return seen + text_cost(query.prompt) + rows * (decoding.max_tokens or _CAPTION_TOKENS)
    if isinstance(query, ClassifyQuery):
        return seen + _labels_cost(query)
    candidates = query.candidates or () if isinstance(query, VqaQuery) else ()
    return seen + sum(map(text_cost, (_text(query), *candidates)))


def _labels_cost(query: ClassifyQuery) -> float:
    """Of every label in every template, without writing all of them down."""
    labels, templates = query.labels, query.templates
    chars = len(templates) * sum(map(len, labels)) + len(labels) * sum(map(len, templates))
    return float(max(len(labels) * len(templates), math.ceil(chars / _CHARS_OF_A_TOKEN)))


def _text(query: TextQuery) -> str:
    match query:
        case VqaQuery():
            return query.question
        case MatchQuery():
            return query.text
        case EntailmentQuery():
            return query.hypothesis
        case ReasoningQuery():
            return query.statement
        case GroundingQuery():
            return query.phrase


def _words(queries: Iterable[Query]) -> Iterable[str]:
    for query in queries:
        if isinstance(query, CaptionQuery):
            if query.prompt:
                yield query.prompt
        elif isinstance(query, ClassifyQuery):
            yield from query.labels
        else:
            yield _text(query)
