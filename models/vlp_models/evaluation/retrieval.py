"""Retrieval in both directions: how often a right one is among the first k, beside what chance would reach.

A picture's own captions are always right. Where the data set knows its scenes, any picture of which a caption is true
is right too: "a red cat above a blue dog" describes many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlp_models.data.records import PictureRecord
from vlp_models.scenes.caption_grammar import parse_caption
from vlp_models.scenes.world import Scene

RANKS = (1, 5, 10)
Truth = np.ndarray
"""(captions, pictures) bool, whether a caption is true of a picture."""


@dataclass(frozen=True)
class RecallFigures:
    """Shares of queries, 0 to 1, by k.

    Attributes:
        recall: a right one is among the first k.
        chance: the same for an order drawn at random.
        ceiling: there is a right one at all.
    """

    recall: Mapping[int, float]
    chance: Mapping[int, float]
    ceiling: float


def captions_of_records(records: Sequence[PictureRecord]) -> tuple[list[str], np.ndarray]:
    """Distinct captions, and (captions,) int64, the first picture of each."""
    first: dict[str, int] = {}
    for number, record in enumerate(records):
        for caption in record.captions:
            first.setdefault(caption, number)
    return list(first), np.array(list(first.values()), dtype=np.int64)


def truth_of(records: Sequence[PictureRecord], captions: Sequence[str]) -> Truth:
    """Which captions are true of which pictures, as far as the records tell."""
    number_of = {caption: number for number, caption in enumerate(captions)}
    truth = np.zeros((len(captions), len(records)), dtype=bool)
    for picture, record in enumerate(records):
        for caption in record.captions:
            truth[number_of[caption], picture] = True
    scenes = {picture: record.scene for picture, record in enumerate(records) if record.scene is not None}
    holders = _holders(scenes)
    for number, caption in enumerate(captions):
        facts = parse_caption(caption) if scenes else None
        if facts is None:
            continue
        for picture in set.intersection(*(holders[pair] for pair in facts.pairs)):
            truth[number, picture] |= facts.holds(scenes[picture])
    return truth


def recall_figures(scores: np.ndarray, right: np.ndarray) -> RecallFigures:
    """Recall of a score matrix.

    Args:
        scores: (queries, candidates) float, the higher the better; equal ones in the order of candidates.
        right: (queries, candidates) bool.
    """
    return figures_of_ranking(np.take_along_axis(right, _first(scores, max(RANKS)), axis=1), right)


def figures_of_ranking(hits: np.ndarray, right: np.ndarray) -> RecallFigures:
    """Recall of a ranking.

    Args:
        hits: (queries, n) bool, whether each of the first n is right, best first; n at least the largest rank, or all.
        right: (queries, candidates) bool.
    """
    counts, candidates = right.sum(axis=1), right.shape[1]
    return RecallFigures(
        recall={k: float(hits[:, :k].any(axis=1).mean()) for k in RANKS},
        chance={k: float(np.mean([_chance(int(count), candidates, k) for count in counts])) for k in RANKS},
        ceiling=float((counts > 0).mean()),
    )


def first_candidates(scores: np.ndarray, candidates: int) -> np.ndarray:
    """(queries, candidates) bool, which ones are among the first so many of a query; see `recall_figures`."""
    chosen = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(chosen, _first(scores, candidates), True, axis=1)
    return chosen


def rerank_hits(scores: np.ndarray, right: np.ndarray, again: np.ndarray, candidates: int) -> np.ndarray:
    """The hits of a search whose first candidates were looked at again.

    Args:
        scores: (queries, all) float of the search; see `recall_figures`.
        right: (queries, all) bool.
        again: (queries, all) float of the second look, the higher the better; equal ones as the search orders them.
            Only those of `first_candidates` count.
        candidates: how many are looked at again.

    Returns:
        (queries, candidates) bool, whether each of them is right, best first.
    """
    first = _first(scores, candidates)
    anew = np.argsort(-np.take_along_axis(again, first, axis=1), axis=1, kind="stable")
    return np.take_along_axis(right, np.take_along_axis(first, anew, axis=1), axis=1)


def _first(scores: np.ndarray, count: int) -> np.ndarray:
    """(queries, count) int, the first so many, best first; fewer where there are no more."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def _chance(right: int, candidates: int, k: int) -> float:
    """Probability that k of the candidates, drawn at random, hold a right one."""
    miss = 1.0
    for drawn in range(min(k, candidates)):
        miss *= max(0, candidates - right - drawn) / (candidates - drawn)
    return 1.0 - miss


def _holders(scenes: Mapping[int, Scene]) -> dict[tuple[str, str], set[int]]:
    """(kind, colour) -> the pictures that show such a thing."""
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    for picture, scene in scenes.items():
        for thing in scene.things:
            holders[thing.kind, thing.colour].add(picture)
    return holders
