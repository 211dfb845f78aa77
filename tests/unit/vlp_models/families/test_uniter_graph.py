"""The forward pass exports: standard operators, all three axes dynamic, the same numbers."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig

NAMES = ("input_ids", "text_mask", "region_features", "region_positions", "region_mask")


class _Answers(nn.Module):
    """Answers, regions and, with the batch's pictures in turn as the second one, the truth of a statement."""

    def __init__(self, model: UniterModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        text_mask: Tensor,
        region_features: Tensor,
        region_positions: Tensor,
        region_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        regions = (region_features, region_positions, region_mask)
        second = (region_features.flip(0), region_positions.flip(0), region_mask.flip(0))
        return (
            self.model.vqa_logits(input_ids, text_mask, *regions),
            self.model.grounding_scores(input_ids, text_mask, *regions),
            self.model.nlvr2_logits(input_ids, text_mask, regions, second),
        )


def _inputs(counts: list[int], text_len: int, spare_slots: int = 0) -> tuple[Tensor, ...]:
    """Pictures of `counts` regions with texts of up to `text_len` tokens."""
    generator = torch.Generator().manual_seed(text_len)
    batch, slots = len(counts), max(counts) + spare_slots
    lengths = torch.arange(batch) % text_len + 1
    return (
        torch.randint(0, 50, (batch, text_len), dtype=torch.int32, generator=generator),
        (torch.arange(text_len) < lengths[:, None]).int(),
        torch.randn(batch, slots, 6, generator=generator).half(),
        torch.rand(batch, slots, 7, generator=generator),
        (torch.arange(slots) < torch.tensor(counts)[:, None]).int(),
    )


def _export(module: nn.Module) -> ModelProto:
    batch, text, regions = (torch.export.Dim(name) for name in ("batch", "text", "regions"))
    shapes = {name: {0: batch, 1: text if name.startswith(("input", "text")) else regions} for name in NAMES}
    with warnings.catch_warnings():
        # The exporter warns about itself.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            _inputs([3, 4], 5),
            dynamo=True,
            verbose=False,
            input_names=list(NAMES),
            dynamic_shapes=shapes,
        )
    return program.model_proto


@pytest.mark.parametrize("variant", ["paired-attn", "triplet"])
def test_the_graph_gives_the_models_numbers_for_other_sizes(variant: str) -> None:
    torch.manual_seed(0)
    config = UniterConfig(
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        intermediate_size=16,
        vocab_size=50,
        max_positions=10,
        heads=("vqa", "grounding", "nlvr2"),
        num_token_types=3,
        region_size=6,
        num_labels=5,
        nlvr2_variant=variant,
    )
    module = _Answers(UniterModel(config))
    graph = _export(module)
    assert {node.domain for node in graph.graph.node} == {""}
    assert not graph.functions
    # Rows without a valid key would need a guard against NaN in every block; there are none.
    assert "IsNaN" not in {node.op_type for node in graph.graph.node}

    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for inputs in (_inputs([1], 1), _inputs([5, 2, 7], 10), _inputs([3, 3], 4, spare_slots=2)):
        feeds = dict(zip(NAMES, (item.numpy() for item in inputs), strict=True))
        with torch.no_grad():
            expected = [item.numpy() for item in module(*inputs)]
        for ours, theirs in zip(session.run(None, feeds), expected, strict=True):
            assert np.array_equal(np.isfinite(ours), np.isfinite(theirs))
            assert np.abs(np.nan_to_num(ours) - np.nan_to_num(theirs)).max() < 1e-6
