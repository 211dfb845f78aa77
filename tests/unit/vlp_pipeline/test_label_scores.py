import dataclasses
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.deployment_fit import check_width
from vlp_pipeline.label_scores import (
    REASONING_LOGITS,
    LabelScores,
    finite_row,
    truth_of,
    truth_scores,
)
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError
from vlp_spec.tensors import TensorSpec

SCORES = LabelScores(("no", "open", "yes"), "judgement")


def row(*values: float) -> dict[str, np.ndarray]:
    return {"judgement": np.array(values, dtype=np.float32)}


def test_scores_are_a_softmax_and_the_likeliest_comes_first() -> None:
    ranked = SCORES.rank(row(0.0, 1.0, -1.0))
    weights = np.exp([1.0, 0.0, -1.0])
    assert [one.label for one in ranked] == ["open", "no", "yes"]
    assert [one.score for one in ranked] == pytest.approx(weights / weights.sum())
    assert SCORES.probabilities(row(0.0, 1.0, -1.0)) == pytest.approx((weights / weights.sum())[[1, 0, 2]])


def test_equal_labels_keep_their_order_and_large_logits_do_not_overflow() -> None:
    assert [one.label for one in SCORES.rank(row(2.0, 2.0, 2.0))] == ["no", "open", "yes"]
    assert SCORES.probabilities(row(1e30, 0.0, -1e30)).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, r"judgement None, expected \(3,\)"),
        (row(1.0, 2.0), r"judgement \(2,\), expected \(3,\)"),
        ({"judgement": np.zeros((1, 3))}, r"judgement \(1, 3\)"),
        (row(1.0, np.nan, 2.0), "judgement holds numbers that are not finite"),
        (row(1.0, np.inf, 2.0), "not finite"),
    ],
)
def test_outputs_that_are_no_scores_are_refused(outputs: dict[str, np.ndarray], words: str) -> None:
    for read in (SCORES.rank, SCORES.probabilities, lambda given: finite_row(given, "judgement", (3,))):
        with pytest.raises(InferenceError, match=words):
            read(outputs)


@pytest.mark.parametrize("labels", [None, "yes no", ["yes"], [], ["yes", ""], ["yes", 1], {"yes": 0, "no": 1}])
def test_labels_are_two_names_or_more(labels: Any) -> None:
    with pytest.raises(ArtifactError, match=r"deployment\.head\.labels: got .*, expected two names or more"):
        LabelScores.from_head({} if labels is None else {"labels": labels}, "judgement")


def test_no_label_comes_twice() -> None:
    with pytest.raises(ArtifactError, match="the same name twice"):
        LabelScores.from_head({"labels": ["yes", "no", "yes"]}, "judgement")
    assert LabelScores.from_head({"labels": ["yes", "no"]}, "judgement") == LabelScores(("yes", "no"), "judgement")


@pytest.mark.parametrize(("labels", "place"), [(["false", "true"], 1), (["true", "false"], 0)])
def test_the_truth_is_where_the_manifest_says(deployment: Deployment, labels: list[str], place: int) -> None:
    scores = truth_scores(dataclasses.replace(deployment, head={"labels": labels}), REASONING_LOGITS)
    logits = np.array([0.0, 0.0], dtype=np.float32)
    logits[place] = 1.0
    assert truth_of(scores, {REASONING_LOGITS: logits}) == pytest.approx(np.e / (1 + np.e))


@pytest.mark.parametrize("labels", [["no", "yes"], ["false", "true", "open"]])
def test_a_truth_has_two_sides(deployment: Deployment, labels: list[str]) -> None:
    with pytest.raises(ArtifactError, match="expected two, one of them 'true'"):
        truth_scores(dataclasses.replace(deployment, head={"labels": labels}), REASONING_LOGITS)


def test_names_and_outputs_are_as_many(deployment: Deployment) -> None:
    check_width(deployment, "logits", 5, "5 names")
    check_width(deployment, "other", 9, "of no graph")
    with pytest.raises(ArtifactError, match="deployment tiny-vilt@1: 4 names, the graph 5"):
        check_width(deployment, "logits", 4, "4 names")
    dynamic = dataclasses.replace(deployment.graphs[0], outputs=(TensorSpec("logits", "float32", ("batch", "n")),))
    check_width(dataclasses.replace(deployment, graphs=(dynamic,)), "logits", 4, "4 names")
    reasoning = TensorSpec(REASONING_LOGITS, "float32", ("batch", 3))
    graphs = (dataclasses.replace(deployment.graphs[0], outputs=(reasoning,)),)
    changed = dataclasses.replace(deployment, graphs=graphs, head={"labels": ["false", "true"]})
    with pytest.raises(ArtifactError, match="labels has 2 names, the graph 3"):
        truth_scores(changed, REASONING_LOGITS)
