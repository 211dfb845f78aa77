from __future__ import annotations

import torch
from vlp_models.layers.region_proposals_head import RegionProposalNetwork
from vlp_pipeline.detector_anchors import cell_anchors


def test_the_anchors_are_kept_with_the_weights_but_are_none() -> None:
    network = RegionProposalNetwork(6, 5, anchor_sizes_px=(32.0, 64.0), anchor_ratios=(0.5, 1.0, 2.0))
    name = "anchor_generator.cell_anchors.0"
    assert name in network.state_dict()
    assert name not in dict(network.named_parameters())
    expected = torch.from_numpy(cell_anchors((32, 64), (0.5, 1, 2)))
    assert torch.equal(network.anchor_generator.cells, expected)


def test_every_anchor_of_a_cell_is_judged() -> None:
    torch.manual_seed(0)
    network = RegionProposalNetwork(6, 5, anchor_sizes_px=(32.0,), anchor_ratios=(0.5, 1.0))
    network.rpn_head.init_weights()
    objectness, deltas = network(torch.randn(2, 6, 3, 4))
    assert objectness.shape == (2, 2, 3, 4)
    assert deltas.shape == (2, 8, 3, 4)
    assert deltas.abs().max() < 0.1
