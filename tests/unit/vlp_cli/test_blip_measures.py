"""`vlpserve recall` and `evaluate` of tiny BLIPs print what their checkpoints give, one pair at a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from vlp_cli.main import cli
from vlp_models.checkpoints import load_checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))  # tests are imported one by one, not as packages
from blip_by_hand import PICTURES, BlipByHand, records_of, telling_blips

CANDIDATES = 4
GAP = 1e-5
WORDS, PICTURE = "words -> pictures", "pictures -> words"
Pairs = dict[tuple[str, int], float]


@pytest.fixture(scope="module")
def folder() -> Path:
    return telling_blips("match", "reasoning")


class Scores:
    """All pairs of captions and pictures, by the checkpoint."""

    def __init__(self, folder: Path) -> None:
        model = BlipByHand(load_checkpoint(folder / "match").blip, folder / "scenes")
        records = records_of(folder / "scenes")
        self.owners = {(caption, index) for index, record in enumerate(records) for caption in record["captions"]}
        self.captions = list(dict.fromkeys(caption for record in records for caption in record["captions"]))
        pairs = [(caption, index) for caption in self.captions for index in range(len(records))]
        self.similarity: Pairs = {(text, index): model.similarity(text, records[index]) for text, index in pairs}
        self.both: Pairs = {
            (text, index): model.match_logit(text, records[index]) + self.similarity[text, index]
            for text, index in pairs
        }

    def queries(self, direction: str) -> list[list[tuple[str, int]]]:
        """The pairs of each query."""
        if direction == WORDS:
            return [[(caption, index) for index in range(PICTURES)] for caption in self.captions]
        return [[(caption, index) for caption in self.captions] for index in range(PICTURES)]

    def recall(self, direction: str, by: Pairs, first: int | None = None) -> dict[str, float]:
        """Shares of queries with a right one among the best, of the `first` by similarity where that is given."""
        ranks = []
        for pairs in self.queries(direction):
            chosen = ordered(pairs, self.similarity)[:first]
            places = [place for place, pair in enumerate(ordered(chosen, by)) if pair in self.owners]
            ranks.append(min(places, default=PICTURES * 2))
        return {str(k): float(np.mean([rank < k for rank in ranks])) for k in (1, 5, 10)}


def ordered(pairs: list[tuple[str, int]], by: Pairs) -> list[tuple[str, int]]:
    """Best first; scores so near that a graph may order them otherwise would make the test one of luck."""
    assert np.diff(sorted(by[pair] for pair in pairs)).min() > GAP
    return sorted(pairs, key=lambda pair: -by[pair])


@pytest.fixture(scope="module")
def by_hand(folder: Path) -> Scores:
    return Scores(folder)


def measure(folder: Path, command: str, model: str, *more: object) -> Result:
    places = ("--repository", folder / "repository", "--data", folder / "scenes")
    return CliRunner().invoke(cli, [command, model, *map(str, (*places, *more)), "--json"])


def recall(folder: Path, *more: object) -> dict[str, dict[str, Any]]:
    done = measure(folder, "recall", "match", *more)
    assert done.exit_code == 0, done.output
    figures: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return {what: one["recall"] for what, one in figures.items()}


def test_a_blip_that_makes_vectors_is_an_encoder(folder: Path, by_hand: Scores) -> None:
    assert recall(folder) == {way: by_hand.recall(way, by_hand.similarity) for way in (WORDS, PICTURE)}


def test_every_pair_is_read_where_that_is_asked(folder: Path, by_hand: Scores) -> None:
    found = recall(folder, "--every-pair")
    assert found == {way: by_hand.recall(way, by_hand.both) for way in (WORDS, PICTURE)}
    assert found != {way: by_hand.recall(way, by_hand.similarity) for way in (WORDS, PICTURE)}


def test_its_own_first_hits_are_sorted_anew_in_both_directions(folder: Path, by_hand: Scores) -> None:
    again = ("--rerank", "match", "--candidates", CANDIDATES, "--both-ways")
    found = recall(folder, *again)
    expected = {way: by_hand.recall(way, by_hand.similarity) for way in (WORDS, PICTURE)}
    for way in (WORDS, PICTURE):
        expected[f"{way}, first {CANDIDATES} by match@1"] = by_hand.recall(way, by_hand.both, CANDIDATES)
    assert found == expected
    assert list(found) == list(expected)
    assert len({json.dumps(one) for one in found.values()}) > 2  # the second look changes something


def test_words_alone_are_looked_at_again_unless_asked(folder: Path, by_hand: Scores) -> None:
    found = recall(folder, "--rerank", "match@1", "--candidates", CANDIDATES)
    assert list(found) == [WORDS, PICTURE, f"{WORDS}, first {CANDIDATES} by match@1"]
    assert found[f"{WORDS}, first {CANDIDATES} by match@1"] == by_hand.recall(WORDS, by_hand.both, CANDIDATES)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--both-ways",), "--both-ways: goes with --rerank"),
        (("--both-ways", "--rerank", "match", "--queries", 3), "--both-ways: goes with --rerank, of all captions"),
        (("--every-pair", "--rerank", "match"), "--rerank: MODEL looks at every pair already"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder: Path, options: tuple[object, ...], fault: str) -> None:
    done = measure(folder, "recall", "match", *options)
    assert done.exit_code == 2
    assert fault in done.output


def test_a_model_without_a_matching_head_has_no_pairs(folder: Path) -> None:
    done = measure(folder, "recall", "reasoning", "--every-pair")
    assert done.exit_code == 1
    assert "deployment reasoning@1 does not do match" in done.output


def test_statements_on_two_pictures_are_judged(folder: Path) -> None:
    done = measure(folder, "evaluate", "reasoning")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    judgements = BlipByHand(load_checkpoint(folder / "reasoning").blip, folder / "scenes").judgements()
    assert min(abs(logit) for _, logit in judgements) > GAP
    right: dict[str, list[bool]] = {}
    for told, logit in judgements:
        right.setdefault(told["type"], []).append((logit > 0) == told["label"])
    assert {kind: (one["questions"], one["accuracy"]) for kind, one in report["types"].items()} == {
        kind: (len(one), pytest.approx(np.mean(one))) for kind, one in right.items()
    }
    every = [one for ones in right.values() for one in ones]
    assert (report["questions"], report["accuracy"]) == (len(every), pytest.approx(np.mean(every)))
    assert 0 < report["accuracy"] < 1
    assert {logit > 0 for _, logit in judgements} == {True, False}


def test_a_model_of_pictures_is_not_judged_blind(folder: Path) -> None:
    done = measure(folder, "evaluate", "reasoning", "--blind")
    assert done.exit_code == 1
    assert "only models of regions are judged blind here" in done.output
