from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from vlp_models.data.records import PictureRecord
from vlp_models.evaluation.retrieval import (
    captions_of_records,
    figures_of_ranking,
    first_candidates,
    recall_figures,
    rerank_hits,
    truth_of,
)
from vlp_models.scenes.caption_grammar import parse_caption
from vlp_models.scenes.captions import captions_of
from vlp_models.scenes.world import Scene, World


def records(scenes: Sequence[Scene]) -> list[PictureRecord]:
    return [
        PictureRecord(str(number), "", captions_of(scene, random.Random(number)), (), (), scene)
        for number, scene in enumerate(scenes)
    ]


def test_truth_is_what_every_caption_says_of_every_scene() -> None:
    world, rng = World("train"), random.Random(4)
    scenes = [world.draw(rng) for _ in range(40)]
    drawn = records([*scenes, *scenes[:10]])  # the same scene again, in other words
    captions, first = captions_of_records(drawn)
    truth = truth_of(drawn, captions)
    for row, caption in enumerate(captions):
        facts = parse_caption(caption)
        assert facts is not None
        assert truth[row].tolist() == [facts.holds(record.scene) for record in drawn if record.scene is not None]
        assert truth[row, first[row]]
    assert truth.sum() > len(captions)  # some captions are true of other pictures too


def test_without_scenes_only_a_picture_s_own_captions_are_true() -> None:
    drawn = [PictureRecord("a", "", ("x", "both"), ()), PictureRecord("b", "", ("both", "a cat"), ())]
    captions, first = captions_of_records(drawn)
    assert (captions, first.tolist()) == (["x", "both", "a cat"], [0, 0, 1])
    assert truth_of(drawn, captions).tolist() == [[True, False], [True, True], [False, True]]


def test_recall_chance_and_ceiling() -> None:
    scores = np.zeros((3, 12))
    scores[0, 3], scores[1, :6], scores[2, 0] = 1, 1, 1
    right = np.zeros((3, 12), dtype=bool)
    right[0, 3], right[1, 5] = True, True
    figures = recall_figures(scores, right)
    assert figures.recall == {1: pytest.approx(1 / 3), 5: pytest.approx(1 / 3), 10: pytest.approx(2 / 3)}
    assert figures.chance == {k: pytest.approx(2 / 3 * k / 12) for k in (1, 5, 10)}
    assert figures.ceiling == pytest.approx(2 / 3)


def test_chance_is_what_random_orders_reach() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((400, 30)) < 0.1
    reached = recall_figures(rng.random((400, 30)), right)
    for k, chance in reached.chance.items():
        assert reached.recall[k] == pytest.approx(chance, abs=0.06)


def test_a_second_look_orders_the_first_hits_and_no_others() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.5, 0.5, 0.5]])
    right = np.array([[False, False, True, True], [False, False, True, False]])
    assert first_candidates(scores, 3).tolist() == [[True, True, True, False], [False, True, True, True]]
    again = np.array([[0.2, 0.1, 0.9, 7.0], [7.0, 0.3, 0.4, 0.4]])
    hits = rerank_hits(scores, right, again, candidates=3)
    assert hits.tolist() == [[True, False, False], [True, False, False]]  # of equals, the search's first comes first
    assert figures_of_ranking(hits, right).recall[1] == 1.0
    assert rerank_hits(scores, right, again, candidates=9).shape == (2, 4)
    assert first_candidates(scores, 9).all()
