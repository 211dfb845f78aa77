"""A BLIP over many pictures: every pair has the scores of its checkpoint, and no picture is seen twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from blip_by_hand import PICTURES, BlipByHand, records_of, telling_blips
from vlp_models.checkpoints import load_checkpoint
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import RawPicture, open_source
from vlp_models.evaluation import deployment_graphs
from vlp_models.evaluation.deployment_graphs import DeploymentGraphs
from vlp_models.evaluation.judging import judge_split, open_judge
from vlp_models.evaluation.matchers import StagedMatcher, open_matcher
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner
from vlp_models.evaluation.retrieval_artefacts import EncoderGraphs
from vlp_spec.errors import TaskNotSupportedError
from vlp_spec.found_deployment import find_deployment

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder() -> Path:
    return telling_blips("match", "reasoning")


@pytest.fixture(scope="module")
def repository(folder: Path) -> Path:
    return folder / "repository"


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[RawPicture]:
    return list(open_source(folder / "scenes", "test").read(FaultCounter("test")))


@pytest.fixture(scope="module")
def captions(folder: Path) -> list[str]:
    return list(dict.fromkeys(caption for record in records_of(folder / "scenes") for caption in record["captions"]))


@pytest.fixture(scope="module")
def by_hand(folder: Path, captions: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(captions, pictures) cosines, and cosines plus logits."""
    model = BlipByHand(load_checkpoint(folder / "match").blip, folder / "scenes")
    records = records_of(folder / "scenes")
    cosines = np.array([[model.similarity(caption, record) for record in records] for caption in captions])
    logits = np.array([[model.match_logit(caption, record) for record in records] for caption in captions])
    return cosines, cosines + logits


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows by the input that only one graph has; texts are rows of "fusion"."""
    counted: Counter[str] = Counter()

    def counting(path: Path) -> Runner:
        run = onnx_runner(path, threads=1)

        def counted_run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            first = next(iter(feeds))
            counted[first] += len(feeds[first])
            return run(feeds)

        return counted_run

    monkeypatch.setattr(deployment_graphs, "onnx_runner", counting)
    return counted


def ignore(done: int) -> None:
    pass


def test_embeddings_are_those_of_the_checkpoint(
    repository: Path,
    pictures: list[RawPicture],
    captions: list[str],
    by_hand: tuple[np.ndarray, np.ndarray],
    runs: Counter[str],
) -> None:
    encoder = EncoderGraphs(repository, "match", batch_size=5)
    images = encoder.embed_images([raw.image for raw in pictures], ignore)
    assert encoder.embed_texts(captions, ignore) @ images.T == pytest.approx(by_hand[0], abs=TOLERANCE)
    assert runs == {"pixels": PICTURES, "input_ids": len(captions)}


@pytest.mark.parametrize("texts_a_row", [1, 4, 32])
def test_every_pair_is_ordered_by_both_scores(
    repository: Path,
    pictures: list[RawPicture],
    captions: list[str],
    by_hand: tuple[np.ndarray, np.ndarray],
    runs: Counter[str],
    texts_a_row: int,
) -> None:
    matcher = StagedMatcher(DeploymentGraphs(find_deployment(repository, "match")), pictures, texts_a_row)
    seen: list[int] = []
    scores = matcher.scores(captions, np.ones((len(captions), PICTURES), dtype=bool), seen.append)
    assert scores == pytest.approx(by_hand[1], abs=TOLERANCE)
    assert sum(seen) == scores.size
    rows = PICTURES * -(-len(captions) // texts_a_row)
    assert runs == {"pixels": PICTURES, "seen_states": PICTURES, "input_ids": len(captions), "question_ids": rows}


def test_pairs_that_are_not_wanted_cost_nothing(
    repository: Path,
    pictures: list[RawPicture],
    captions: list[str],
    by_hand: tuple[np.ndarray, np.ndarray],
    runs: Counter[str],
) -> None:
    wanted = np.zeros((len(captions), PICTURES), dtype=bool)
    wanted[2, [0, 3]] = wanted[5, 3] = True
    scores = open_matcher(repository, "match", pictures).scores(captions, wanted, ignore)
    assert scores[wanted] == pytest.approx(by_hand[1][wanted], abs=TOLERANCE)
    assert np.isneginf(scores[~wanted]).all()
    assert runs == {"pixels": 2, "seen_states": 2, "input_ids": 2, "question_ids": 2}


def test_what_does_not_match_is_refused(repository: Path, pictures: list[RawPicture]) -> None:
    with pytest.raises(TaskNotSupportedError, match="deployment reasoning@1 does not do match"):
        open_matcher(repository, "reasoning", pictures)


def test_two_pictures_are_seen_once_for_all_their_statements(
    folder: Path, repository: Path, runs: Counter[str]
) -> None:
    report = judge_split(open_judge(repository, "reasoning"), folder / "scenes", "test", batch_size=4, watch=ignore)
    told = [record for record in records_of(folder / "scenes") if record.get("pair_statements")]
    assert report.questions == sum(len(record["pair_statements"]) for record in told) > 2 * len(told)
    assert runs == {"pixels": 2 * len(told), "left_states": report.questions}
