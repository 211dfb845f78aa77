from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from vlp_export.plan import LargestEntry
from vlp_export.proof import (
    TOLERANCES,
    Findings,
    GraphCase,
    ProofSample,
    ProofTolerances,
    SampleBatch,
    _own_part,
    check_proof,
    choose_canary,
    proof_table,
    prove,
)
from vlp_models.evaluation.onnx_runner import Runner
from vlp_spec.deployment import PRECISIONS, Proof
from vlp_spec.errors import ProofError

TIGHT = ProofTolerances(1e-3, 0.0, 1e-3, 0.0, agreement=1.0, agreement_made_up=0.5)
EXPECTED = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0]], np.float32)


def evidence() -> tuple[list[ProofSample], list[SampleBatch]]:
    samples = [
        ProofSample({"row": np.array([row])}, {"logits": EXPECTED[row : row + 1]}) for row in range(len(EXPECTED))
    ]
    return samples, [SampleBatch({"row": np.array([0, 1])}, (0, 1)), SampleBatch({"row": np.array([2, 0])}, (2, 0))]


class Graph:
    """Gives the expected rows, plus what a test adds when alone or in company."""

    def __init__(self, alone: np.ndarray | float = 0.0, company: np.ndarray | float = 0.0) -> None:
        self.alone, self.company = alone, company

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = feeds["row"]
        added = self.alone if len(rows) == 1 else self.alone + self.company
        return {"logits": EXPECTED[rows] + np.broadcast_to(added, (3, 3))[rows]}


def measure(graph: Graph, tolerances: ProofTolerances = TIGHT, least: float | None = None) -> Proof:
    samples, batches = evidence()
    return find(graph, samples, batches, tolerances, least).proof


def find(
    graph: Runner,
    samples: list[ProofSample],
    batches: list[SampleBatch],
    tolerances: ProofTolerances = TIGHT,
    least: float | None = None,
) -> Findings:
    case = GraphCase(graph, samples, batches)
    return prove([case], answer=LargestEntry("logits"), tolerances=tolerances, min_agreement=least)


def test_a_graph_that_is_its_checkpoint_holds() -> None:
    proof = measure(Graph())
    assert proof.holds()
    assert (proof.samples, proof.agreement, proof.outputs[0].max_abs_diff) == (3, 1.0, 0.0)
    check_proof(proof, "g")


def test_a_difference_over_the_bound_is_refused_with_its_figures() -> None:
    proof = measure(Graph(alone=0.25))
    assert proof.outputs[0].max_abs_diff == 0.25
    assert proof.outputs[0].max_batch_diff == 0.0
    with pytest.raises(ProofError, match=r"0\.25 \(bound 0\.001\)"):
        check_proof(proof, "g")


def test_a_difference_in_company_is_refused() -> None:
    proof = measure(Graph(company=0.25))
    assert proof.outputs[0].max_abs_diff == 0.0
    assert proof.outputs[0].max_batch_diff == 0.25
    with pytest.raises(ProofError, match="in a batch"):
        check_proof(proof, "g")


def test_other_answers_are_refused() -> None:
    flip = np.zeros((3, 3))
    flip[2, 1] = 1.5
    wide = ProofTolerances(10.0, 0.0, 10.0, 0.0, agreement=0.9, agreement_made_up=0.5)
    proof = measure(Graph(alone=flip), wide)
    assert proof.agreement == pytest.approx(2 / 3)
    with pytest.raises(ProofError, match=r"same answer on 66\.67% of 3 samples \(at least 90\.00%\)"):
        check_proof(proof, "g")
    assert measure(Graph(alone=flip), wide, least=0.5).holds()


def test_another_answer_in_company_is_no_agreement() -> None:
    flip = np.zeros((3, 3))
    flip[0, 2] = 5.0
    wide = ProofTolerances(10.0, 0.0, 10.0, 0.0, agreement=1.0, agreement_made_up=0.5)
    proof = measure(Graph(company=flip), wide)
    assert proof.agreement == pytest.approx(2 / 3)
    assert not proof.holds()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["alone", "company"])
def test_numbers_that_are_none_never_hold(value: float, place: str) -> None:
    wide = ProofTolerances(1e30, 0.0, 1e30, 0.0, agreement=0.0, agreement_made_up=0.0)
    spoilt = np.zeros((3, 3))
    spoilt[0, 0] = value
    proof = measure(Graph(**{place: spoilt}), wide)
    assert not proof.holds()
    assert np.isinf(max(proof.outputs[0].max_abs_diff, proof.outputs[0].max_batch_diff))


def test_bounds_follow_the_spread_where_that_is_larger() -> None:
    relative = ProofTolerances(1e-3, 0.5, 1e-3, 0.25, agreement=1.0, agreement_made_up=1.0)
    proof = measure(Graph(), relative).outputs[0]
    assert proof.tolerance == pytest.approx(0.5 * EXPECTED.std())
    assert proof.batch_tolerance == pytest.approx(0.25 * EXPECTED.std())


def test_a_missing_row_is_no_agreement() -> None:
    samples, _ = evidence()
    short = SampleBatch({"row": np.array([0, 1])}, (0, 1))

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = feeds["row"]
        return {"logits": EXPECTED[rows] if len(rows) == 1 else EXPECTED[rows][:, :2]}

    assert not find(run, samples, [short]).proof.holds()


def test_of_a_padded_row_the_samples_own_part_is_compared() -> None:
    row = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(_own_part(row, np.zeros((2, 4))), row[:2])
    np.testing.assert_array_equal(_own_part(row, np.zeros((1, 3))), row[:1, :3])
    np.testing.assert_array_equal(_own_part(row, np.zeros((3, 4))), row)
    # What is smaller than alone, or of another rank, is left as it is, and is then found to be another size.
    for alone in (np.zeros((4, 4)), np.zeros((2, 5)), np.zeros(3), np.zeros((1, 1, 1))):
        assert _own_part(row, alone) is row


class Growing:
    """A graph whose output is as long as its rows are wide: row n has n + 1 numbers, then padding."""

    def __init__(self, added: float = 0.0, cut: bool = False) -> None:
        self.added, self.cut = added, cut

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        counts = feeds["row"] + 1
        width = int(counts.max()) - (self.cut and len(counts) > 1)
        values = np.arange(1.0, width + 1) + (self.added if len(counts) > 1 else 0.0)
        return {"logits": np.where(np.arange(width) < counts[:, None], values, -1e4)}


def growing_evidence() -> tuple[list[ProofSample], list[SampleBatch]]:
    samples = [ProofSample({"row": np.array([n])}, {"logits": np.arange(1.0, n + 2)[None]}) for n in range(3)]
    return samples, [SampleBatch({"row": np.array([0, 2])}, (0, 2)), SampleBatch({"row": np.array([1, 0])}, (1, 0))]


def test_padding_in_company_is_no_difference() -> None:
    proof = find(Growing(), *growing_evidence()).proof
    assert proof.holds()
    assert (proof.outputs[0].max_batch_diff, proof.agreement) == (0.0, 1.0)


def test_a_difference_in_the_samples_own_part_is_found_beside_padding() -> None:
    proof = find(Growing(added=0.25), *growing_evidence()).proof
    assert proof.outputs[0].max_batch_diff == 0.25
    assert not proof.holds()


def test_a_row_that_is_shorter_in_company_is_refused() -> None:
    proof = find(Growing(cut=True), *growing_evidence()).proof
    assert np.isinf(proof.outputs[0].max_batch_diff)
    assert not proof.holds()


def test_every_precision_has_tolerances_and_fp32_is_the_tightest() -> None:
    assert set(TOLERANCES) == set(PRECISIONS)
    for name, item in TOLERANCES.items():
        assert item.agreement >= item.agreement_made_up
        assert name == "fp32" or item.relative > TOLERANCES["fp32"].relative


def test_the_table_names_every_figure() -> None:
    lines = proof_table(measure(Graph()))
    assert len(lines) == 3
    assert lines[-1].startswith("same answer on 100.00% of 3 samples")


def test_the_canary_is_of_the_clearest_samples_and_its_bound_of_what_is_usual() -> None:
    off = np.zeros((3, 3))
    off[:, 0] = (0.5, 9.0, 0.25)
    findings = find(Graph(alone=off), *evidence())
    assert findings.differences == (0.5, 9.0, 0.25)
    assert choose_canary(findings, 2) == ((2, 0), 1.5)


def test_the_canary_of_an_exact_graph_has_the_bound_of_float32() -> None:
    findings = find(Graph(), *evidence())
    assert choose_canary(findings, 9) == ((0, 1, 2), findings.float32_bound)
    assert findings.float32_bound == pytest.approx(1e-4 * max(1.0, EXPECTED.std()))


def test_an_answer_must_be_the_same_where_the_graphs_follow_one_another() -> None:
    samples, batches = evidence()
    case = GraphCase(Graph(), samples, batches)

    def agreement(last: np.ndarray) -> float:
        chained = [{"logits": row} for row in (*EXPECTED[:2], last)]
        findings = prove([case], answer=LargestEntry("logits"), tolerances=TIGHT, chained=chained)
        assert findings.proof.outputs[0].max_abs_diff == 0.0
        return findings.proof.agreement

    assert agreement(EXPECTED[2] + 0.1) == 1.0
    assert agreement(EXPECTED[2, ::-1]) == pytest.approx(2 / 3)


def test_only_what_makes_the_answer_is_kept_and_all_is_measured() -> None:
    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(feeds["row"])
        return {"logits": EXPECTED[feeds["row"]], "states": np.full((count, 4), 0.5 * (count > 1), np.float32)}

    samples, batches = evidence()
    wide = [ProofSample(item.feeds, item.expected | {"states": np.zeros((1, 4), np.float32)}) for item in samples]
    found = {proof.output: proof for proof in find(run, wide, batches).proof.outputs}
    assert (found["states"].max_abs_diff, found["states"].max_batch_diff) == (0.0, 0.5)
    assert found["logits"].max_batch_diff == 0.0


def test_an_answer_may_be_that_of_one_text_among_several() -> None:
    rows = [{"logits": np.array([[[5.0, 0.0], [0.0, 1.0]], [[9.0, 0.0], [9.0, 0.0]]])}]
    assert LargestEntry("logits", (0, -1)).answers(rows) == [1]
    assert LargestEntry("logits", (1, -1)).answers(rows) == [0]
    assert LargestEntry("logits").answers(rows) == [4]
