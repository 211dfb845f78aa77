"""The forward pass exports: standard operators, all three axes dynamic, the same numbers."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig

NAMES = ("patches", "grid", "input_ids", "text_mask")


class _Vqa(nn.Module):
    def __init__(self, model: ViltModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        return self.model.vqa_logits(patches, grid, input_ids, text_mask)


def _inputs(grids: list[tuple[int, int]], text_len: int, spare_patches: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(text_len)
    batch, slots = len(grids), max(rows * columns for rows, columns in grids) + spare_patches
    return (
        torch.randint(0, 256, (batch, slots, 48), dtype=torch.uint8, generator=generator),
        torch.tensor(grids, dtype=torch.int32),
        torch.randint(0, 50, (batch, text_len), dtype=torch.int32, generator=generator),
        torch.ones(batch, text_len, dtype=torch.int32),
    )


def _export(model: ViltModel) -> ModelProto:
    batch, patches, text = (torch.export.Dim(name) for name in ("batch", "patches", "text"))
    axes = {0: batch, 1: text}
    with warnings.catch_warnings():
        # The exporter warns about itself.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Vqa(model).eval(),
            _inputs([(2, 3), (1, 4)], 5),
            dynamo=True,
            verbose=False,
            input_names=list(NAMES),
            dynamic_shapes={
                "patches": {0: batch, 1: patches},
                "grid": {0: batch},
                "input_ids": axes,
                "text_mask": axes,
            },
        )
    return program.model_proto


@pytest.fixture(scope="module")
def model() -> ViltModel:
    torch.manual_seed(0)
    config = ViltConfig(
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        patch_size=4,
        image_size=12,
        vocab_size=50,
        max_text_len=10,
        heads=("vqa",),
        num_labels=5,
    )
    return ViltModel(config).eval()


def test_the_graph_gives_the_models_logits_for_other_sizes(model: ViltModel) -> None:
    graph = _export(model)
    assert {node.domain for node in graph.graph.node} == {""}
    assert not graph.functions
    # Rows without a valid key would need a guard against NaN in every block; there are none.
    assert "IsNaN" not in {node.op_type for node in graph.graph.node}

    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for inputs in (_inputs([(1, 1)], 1), _inputs([(3, 4), (2, 2), (1, 5)], 10), _inputs([(5, 5), (4, 3)], 3, 2)):
        feeds = dict(zip(NAMES, (item.numpy() for item in inputs), strict=True))
        with torch.no_grad():
            expected = model.vqa_logits(*inputs).numpy()
        assert np.abs(session.run(None, feeds)[0] - expected).max() < 1e-6


def test_double_precision_exports_too(model: ViltModel) -> None:
    graph = _export(model.double())
    model.float()
    assert graph.graph.output[0].type.tensor_type.elem_type == 11
