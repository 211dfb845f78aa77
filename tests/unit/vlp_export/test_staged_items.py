"""What the graphs of a BLIP are proved on: rows in which the checkpoint itself went the way that a request goes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_blip import IMAGE, MAX_TEXT, POSITIONS, blip_tokenizer, tiny_blip
from vlp_export.evidence import gather_evidence
from vlp_export.module_runs import run_module
from vlp_export.plan import Arrays, ExportPlan
from vlp_export.plans import own_task, plan_export
from vlp_export.sample_items import chained_outputs, sample_items
from vlp_export.samples import RawSample, made_up_samples
from vlp_models.checkpoints import LoadedCheckpoint
from vlp_pipeline.pipeline import Item
from vlp_pipeline.registry import Pipeline, build_pipeline
from vlp_spec.deployment import Deployment, GraphRef, OutputProof, Proof


def samples(count: int) -> list[RawSample]:
    return made_up_samples(blip_tokenizer(), MAX_TEXT, count)


def made(tmp_path: Path, head: str) -> tuple[ExportPlan, Pipeline]:
    checkpoint = LoadedCheckpoint(tiny_blip(head), blip_tokenizer(), None, IMAGE, "somewhere")
    plan = plan_export(checkpoint, own_task(checkpoint))
    for name, content in plan.assets.items():
        (tmp_path / name).write_bytes(content)
    deployment = Deployment(
        name="tiny",
        version=1,
        family=plan.family,
        tasks=plan.tasks,
        precision="fp32",
        graphs=tuple(GraphRef(g.role, g.role, 1, "onnxruntime", {}, g.inputs, g.outputs) for g in plan.graphs),
        image=dict(plan.image),
        text=dict(plan.text),
        axes=dict(plan.axes),
        assets={},
        proof=Proof((OutputProof("logits", 0.0, 0.0, 1e-4, 1e-4),), 1, 1.0, 1.0),
        canary_tolerance=1e-3,
        source={},
        producers={},
        created="2026-01-01T00:00:00+00:00",
        head=dict(plan.head),
    )
    return plan, build_pipeline(deployment, tmp_path)


def of_role(rows: Sequence[Sequence[Item]], role: str) -> list[Item]:
    return [item for row in rows for item in row if item.role == role]


@pytest.mark.parametrize("head", ["caption", "vqa", "match", "reasoning"])
def test_each_sample_has_a_row_for_each_graph(tmp_path: Path, head: str) -> None:
    plan, pipeline = made(tmp_path, head)
    rows = list(sample_items(plan, pipeline, samples(3)))
    assert [[item.role for item in row] for row in rows] == [[graph.role for graph in plan.graphs]] * 3
    for graph in plan.graphs:
        for item in of_role(rows, graph.role):
            assert set(item.arrays) == {spec.name for spec in graph.inputs}
            assert {spec.dtype for spec in graph.inputs} == {str(array.dtype) for array in item.arrays.values()}


def test_what_a_decoder_looks_at_is_the_samples_own_picture(tmp_path: Path) -> None:
    plan, pipeline = made(tmp_path, "caption")
    rows = list(sample_items(plan, pipeline, samples(2)))
    model = plan.graphs[0].module.model
    assert not np.array_equal(*(item.arrays["pixels"] for item in of_role(rows, "vision")))
    for row in rows:
        with torch.no_grad():
            states = model.encode_image(torch.from_numpy(row[0].arrays["pixels"])[None])
            cross = model.text_decoder.bert.cross_states(states)[0]  # type: ignore[operator]
        np.testing.assert_allclose(row[1].arrays["seen_states"], states[0].numpy(), atol=1e-6)
        np.testing.assert_allclose(row[2].arrays["at_key_0"], cross.keys[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("head", ["caption", "vqa"])
def test_a_decoder_is_asked_for_all_that_it_is_used_for(tmp_path: Path, head: str) -> None:
    plan, pipeline = made(tmp_path, head)
    rows = list(sample_items(plan, pipeline, samples(8)))
    asked = [
        (item.sizes["beams"], item.sizes["tokens"] > 1, int(item.arrays["past_lengths"]) > 0)
        for item in of_role(rows, "decoder")
    ]
    beginning, beams, answers, step = asked[:4]
    assert beginning == (1, head == "caption", False)  # the prompt, or [DEC] alone
    assert beams == (3, False, True)
    assert answers == (5, True, False)
    assert step == (1, False, True)
    assert asked[4:] == asked[:4]
    pasts = [int(item.arrays["past_lengths"]) for item in of_role(rows, "decoder")]
    tokens = [item.sizes["tokens"] for item in of_role(rows, "decoder")]
    assert len(set(pasts)) > 2
    assert max(pasts) + max(tokens) <= POSITIONS  # in company, all have the tokens of the longest


def test_texts_about_a_picture_come_alone_and_in_company(tmp_path: Path) -> None:
    plan, pipeline = made(tmp_path, "match")
    items = of_role(list(sample_items(plan, pipeline, samples(6))), "fusion")
    assert [item.sizes["texts"] for item in items] == [1, 3, 2, 1, 3, 2]
    assert max(item.sizes["text"] for item in items) == MAX_TEXT


def test_a_pair_is_made_of_two_samples(tmp_path: Path) -> None:
    plan, pipeline = made(tmp_path, "reasoning")
    items = of_role(list(sample_items(plan, pipeline, samples(3))), "pair")
    for number, item in enumerate(items):
        before = items[number - 1].arrays["left_states"]
        np.testing.assert_allclose(item.arrays["right_states"], before, atol=1e-6)
    assert not np.array_equal(items[0].arrays["left_states"], items[1].arrays["left_states"])


def test_a_sample_alone_is_enough(tmp_path: Path) -> None:
    for head in ("caption", "vqa", "match", "reasoning"):
        plan, pipeline = made(tmp_path, head)
        ((first, *_),) = sample_items(plan, pipeline, samples(1))
        assert first.role == "vision"


def test_along_the_chain_every_graph_reads_what_those_before_it_made(tmp_path: Path) -> None:
    plan, pipeline = made(tmp_path, "caption")
    runners = {graph.role: functools.partial(run_module, graph) for graph in plan.graphs}
    exact = chained_outputs(plan, pipeline, samples(3), runners)
    assert [set(row) for row in exact] == [{"logits"}] * 3
    for row, sample in zip(exact, gather_evidence(plan, pipeline, samples(3))["decoder"].samples, strict=True):
        np.testing.assert_allclose(row["logits"], sample.expected["logits"][0], atol=1e-6)

    def blind(feeds: Mapping[str, np.ndarray]) -> Arrays:
        return {name: np.zeros_like(array) for name, array in run_module(plan.graphs[0], feeds).items()}

    off = chained_outputs(plan, pipeline, samples(3), {**runners, "vision": blind})
    for row, other in zip(exact, off, strict=True):
        assert np.abs(row["logits"] - other["logits"]).max() > 0.01
    alone = dataclasses.replace(plan, graphs=plan.graphs[1:])
    assert chained_outputs(alone, pipeline, samples(3), runners) == []


def test_evidence_puts_inputs_together_when_they_are_asked_for(tmp_path: Path) -> None:
    plan, pipeline = made(tmp_path, "caption")
    evidence = gather_evidence(plan, pipeline, samples(5))["decoder"]
    assert (len(evidence.samples), len(evidence.batches)) == (5, 2)
    assert evidence.samples[1].feeds["input_ids"].shape == (1, 3, 1)
    assert [sample.feeds["input_ids"].shape[1] for sample in evidence.samples[:3]] == [1, 3, 5]
    assert [batch.rows for batch in evidence.batches] == [(0, 1, 2, 3), (0, 4)]
    batch = evidence.batches[0].feeds
    assert batch["input_ids"].shape[:2] == (4, 5)
    assert batch["past_lengths"].tolist() == [int(item.arrays["past_lengths"]) for item in evidence.items[:4]]
    with pytest.raises(IndexError):
        evidence.samples[5]
    first = evidence.head(4)
    assert (len(first.samples), [batch.rows for batch in first.batches]) == (4, [(0, 1, 2, 3)])
    assert len(evidence.head(2).samples) == 5  # not one whole batch: all
    canary = evidence.canary([3])
    assert canary["output.logits"].shape == (*canary["input.input_ids"].shape, plan.graphs[2].outputs[0].shape[-1])
