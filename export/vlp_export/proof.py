"""The proof: an exported graph computes what its checkpoint does, alone and in any company.

The figures are measured on the graph as it will be served, against the torch model run on each sample alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from vlp_models.evaluation.onnx_runner import Runner
from vlp_spec.deployment import OutputProof, Proof
from vlp_spec.errors import ProofError

from vlp_export.plan import AnswerRule, Arrays

Feeds = Mapping[str, np.ndarray]
_CANARY_FACTOR = 3.0


@dataclass(frozen=True, slots=True)
class ProofTolerances:
    """What a precision may differ by.

    `relative` bounds are shares of the output's spread (the standard deviation of the checkpoint's outputs over all
    samples): what counts is whether answers keep their order, and logits have no unit. The larger of the absolute and
    the relative bound holds, and the bound itself is written into the proof.

    Attributes:
        absolute: bound of |graph - checkpoint|, in units of the output.
        relative: the same as a share of the spread.
        batch_absolute: bound of |alone - in a batch| of the graph itself.
        batch_relative: the same as a share of the spread.
        agreement: smallest share of real samples with the same answer, both alone and in company.
        agreement_made_up: the same of made-up samples. They are unlike what a model was trained on: its answers to
            them are often near ties, which rounding tips over.
    """

    absolute: float
    relative: float
    batch_absolute: float
    batch_relative: float
    agreement: float
    agreement_made_up: float


# The bounds on single values are wide below float32: one ambiguous picture may fall to the other side of a decision
# inside the network. What holds such a graph is the agreement, and that it is made from a proved float32 graph.
# An int8 row is rounded by nothing but itself, so items of one size give the same bits alone and in company. Padding
# changes the order of float32 sums in the attention, and their last bit can move a value to the next of its 255 steps.
TOLERANCES = {
    "fp32": ProofTolerances(1e-4, 1e-4, 1e-4, 1e-4, agreement=0.998, agreement_made_up=0.998),
    "fp16": ProofTolerances(1e-2, 5e-2, 1e-2, 2e-2, agreement=0.98, agreement_made_up=0.9),
    "bf16": ProofTolerances(5e-2, 2e-1, 5e-2, 1e-1, agreement=0.96, agreement_made_up=0.8),
    "int8": ProofTolerances(1e-3, 1.0, 1e-3, 0.25, agreement=0.96, agreement_made_up=0.8),
}


@dataclass(frozen=True, slots=True)
class ProofSample:
    """One sample: the graph's inputs as a batch of one, and the checkpoint's outputs for it."""

    feeds: Arrays
    expected: Arrays


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples of different sizes padded into one batch.

    Attributes:
        rows: index in the list of samples -> row, in order.
    """

    feeds: Arrays
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphCase:
    """A graph, and what it is measured on.

    Attributes:
        samples: at least one; the same in number and order for all graphs of a deployment.
        batches: every sample in at least one, with others of other sizes.
    """

    run: Runner
    samples: Sequence[ProofSample]
    batches: Sequence[SampleBatch]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured on the graphs of a deployment.

    Attributes:
        differences: largest |graph - checkpoint| of each sample alone, over all outputs of all graphs.
        float32_bound: what float32 graphs of this checkpoint may differ by.
    """

    proof: Proof
    differences: tuple[float, ...]
    float32_bound: float


@dataclass(frozen=True, slots=True)
class _Measured:
    """One graph's figures, and its outputs without the batch axis, as far as the answer needs them.

    Attributes:
        alone: of each sample.
        company: of each sample, once for each batch that it is in.
    """

    proofs: tuple[OutputProof, ...]
    differences: tuple[float, ...]
    float32_bound: float
    alone: list[Arrays]
    company: list[list[Arrays]]

    def round(self, turn: int) -> list[Arrays]:
        """Of each sample its outputs in one of its batches; of one that is in fewer, those in its last, or alone."""
        return [
            [alone, *times][min(turn + 1, len(times))] for alone, times in zip(self.alone, self.company, strict=True)
        ]


def prove(
    graphs: Sequence[GraphCase],
    *,
    answer: AnswerRule,
    tolerances: ProofTolerances,
    min_agreement: float | None = None,
    chained: Sequence[Arrays] = (),
) -> Findings:
    """Measure the graphs of a deployment.

    Args:
        graphs: at least one.
        answer: what counts as a sample's answer.
        tolerances: of the graphs' precision.
        min_agreement: smallest share of samples with the same answer; None takes that for real samples.
        chained: of each sample the outputs that make its answer, where graphs read what graphs before them made; each
            is measured by itself on what the checkpoint made. Empty where no graph reads another's outputs.

    Returns:
        The figures; they may or may not hold, see `check_proof`.
    """
    measured = [_measure(case, tolerances, answer.outputs) for case in graphs]
    expected = answer.answers(_merged([[_first_row(item.expected) for item in case.samples] for case in graphs]))
    rounds = [_merged([item.alone for item in measured])]
    for turn in range(max(len(times) for item in measured for times in item.company)):
        rounds.append(_merged([item.round(turn) for item in measured]))
    if chained:
        rounds.append(list(chained))
    found = [answer.answers(rows) for rows in rounds]
    agreeing = [all(answers[index] == wanted for answers in found) for index, wanted in enumerate(expected)]
    least = tolerances.agreement if min_agreement is None else min_agreement
    proofs = tuple(proof for item in measured for proof in item.proofs)
    return Findings(
        Proof(proofs, len(agreeing), sum(agreeing) / len(agreeing), least),
        tuple(max(values) for values in zip(*(item.differences for item in measured), strict=True)),
        max(item.float32_bound for item in measured),
    )


def _measure(case: GraphCase, tolerances: ProofTolerances, answering: frozenset[str]) -> _Measured:
    """Run a graph on its samples; of what it gives, only the outputs that make the answer are kept."""
    pairs = [(_first_row(case.run(sample.feeds)), sample.expected) for sample in case.samples]
    alone = [row for row, _ in pairs]
    company: list[list[Arrays]] = [[] for _ in alone]
    in_company: dict[str, float] = {}
    for batch in case.batches:
        outputs = case.run(batch.feeds)
        for number, index in enumerate(batch.rows):
            row = {name: _own_part(array[number], alone[index][name]) for name, array in outputs.items()}
            for name, array in row.items():
                in_company[name] = max(in_company.get(name, 0.0), _difference(array, alone[index][name]))
            company[index].append(_part(row, answering))
    proofs, exact = [], TOLERANCES["fp32"]
    worst, float32_bound = [0.0] * len(alone), exact.absolute
    for name in pairs[0][1]:
        spread = float(np.std(np.concatenate([expected[name].ravel() for _, expected in pairs])))
        float32_bound = max(float32_bound, exact.relative * spread)
        differences = [_difference(row[name], expected[name]) for row, expected in pairs]
        worst = [max(pair) for pair in zip(worst, differences, strict=True)]
        proofs.append(
            OutputProof(
                output=name,
                max_abs_diff=max(differences),
                max_batch_diff=in_company[name],
                tolerance=max(tolerances.absolute, tolerances.relative * spread),
                batch_tolerance=max(tolerances.batch_absolute, tolerances.batch_relative * spread),
            )
        )
    return _Measured(tuple(proofs), tuple(worst), float32_bound, [_part(row, answering) for row in alone], company)


def _own_part(row: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """What of a row in a batch is the sample's own: an output with a dynamic axis is padded there."""
    if row.ndim != alone.ndim or any(got < own for got, own in zip(row.shape, alone.shape, strict=True)):
        return row
    return row[tuple(slice(size) for size in alone.shape)]


def _part(row: Arrays, names: frozenset[str]) -> Arrays:
    """The arrays of these names, in memory of their own: not the whole batch's."""
    return {name: array.copy() for name, array in row.items() if name in names}


def _first_row(outputs: Mapping[str, np.ndarray]) -> Arrays:
    return {name: array[0] for name, array in outputs.items()}


def _merged(graphs: Sequence[Sequence[Arrays]]) -> list[Arrays]:
    """For each sample, the outputs of all graphs."""
    return [{name: array for row in rows for name, array in row.items()} for rows in zip(*graphs, strict=True)]


def choose_canary(findings: Findings, count: int) -> tuple[tuple[int, ...], float]:
    """Samples that say whether a graph is still the proved one, and how far their outputs may be off.

    Chosen are those on which the graph is nearest to its checkpoint: below float32, an ambiguous sample may come out on
    another side on another machine. The bound is that of float32, or three times what is usual for this graph.

    Returns:
        Indices of at most `count` samples, and the bound.
    """
    order = sorted(range(len(findings.differences)), key=lambda index: findings.differences[index])
    usual = float(np.median(findings.differences))
    return tuple(order[:count]), max(findings.float32_bound, _CANARY_FACTOR * usual)


def check_proof(proof: Proof, graph: str) -> None:
    """Refuse a graph whose figures do not hold.

    Raises:
        ProofError: lists every figure with its bound.
    """
    if proof.holds():
        return
    lines = [f"graph {graph} is not its checkpoint; it is not published:"]
    lines += proof_table(proof)
    raise ProofError("\n".join(lines))


def proof_table(proof: Proof) -> list[str]:
    """The figures of a proof and their bounds, one a line."""
    lines = []
    for item in proof.outputs:
        pairs = (
            ("|graph - checkpoint|", item.max_abs_diff, item.tolerance),
            ("|alone - in a batch|", item.max_batch_diff, item.batch_tolerance),
        )
        lines += [f"{item.output}: max {what} {value:.3g} (bound {bound:.3g})" for what, value, bound in pairs]
    lines.append(
        f"same answer on {proof.agreement:.2%} of {proof.samples} samples (at least {proof.min_agreement:.2%})"
    )
    return lines


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; infinite where sizes differ or a number is none, so that it holds no bound."""
    if got.size != expected.size or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.max(np.abs(got.astype(np.float64).ravel() - expected.astype(np.float64).ravel())))
