from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from vlp_models.families.faster_rcnn import FasterRcnn, numbered_rois
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_pipeline.detector_settings import DetectorSettings

CONFIG = FasterRcnnConfig(
    num_classes=3,
    num_attributes=2,
    stem_width=4,
    res2_width=4,
    bottleneck_width=2,
    depths=(1, 1, 1),
    res5_depth=1,
    rpn_width=4,
    roi_resolution=4,
    anchor_sizes_px=(32.0,),
    anchor_ratios=(1.0, 2.0),
)


@pytest.fixture
def model() -> FasterRcnn:
    torch.manual_seed(0)
    model = FasterRcnn(CONFIG)
    model.init_weights()
    return model.eval()


def test_the_published_detector_has_65_million_parameters() -> None:
    with torch.device("meta"):
        model = FasterRcnn(FasterRcnnConfig.bottom_up_attention())
    parts = (model.backbone, model.proposal_generator, model.roi_heads)
    millions = [sum(value.numel() for value in part.parameters()) / 1e6 for part in parts]
    assert millions == pytest.approx([27.5, 4.75, 33.15], abs=0.05)


def test_the_small_detector_is_small() -> None:
    model = FasterRcnn(FasterRcnnConfig.scenes(68, 8))
    assert 0.5e6 < sum(value.numel() for value in model.parameters()) < 2e6


def test_pictures_become_maps_and_boxes_become_scores(model: FasterRcnn) -> None:
    maps = model.backbone_and_rpn(torch.randint(0, 256, (2, 3, 48, 80), dtype=torch.uint8))
    assert maps.feature_map.shape == (2, 16, 3, 5)
    assert maps.objectness.shape == (2, 2, 3, 5)
    assert maps.anchor_deltas.shape == (2, 8, 3, 5)
    found = model.roi_head(maps.feature_map, torch.rand(2, 7, 4) * 20 + torch.tensor([0.0, 0, 20, 20]))
    assert found.class_scores.shape == (2, 7, 4)
    assert found.attribute_scores.shape == (2, 7, 3)
    assert found.features.shape == (2, 7, 32)
    assert found.box_deltas.shape == (2, 7, 12)
    assert found.class_scores.sum(dim=2).detach().numpy() == pytest.approx(1, abs=1e-5)


def test_bytes_and_floats_are_normalised_alike_in_blue_green_red(model: FasterRcnn) -> None:
    pixels = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    expected = pixels.float() - torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]
    assert torch.allclose(model.normalise(pixels), expected, atol=1e-4)
    assert torch.equal(model.normalise(pixels), model.normalise(pixels.float()))


def test_each_picture_of_a_batch_is_judged_by_itself(model: FasterRcnn) -> None:
    pixels = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    rois = torch.tensor([[[0.0, 0, 30, 30], [10, 5, 47, 40]]]).expand(3, 2, 4) + torch.arange(3)[:, None, None]
    together = model.roi_head(model.backbone_and_rpn(pixels).feature_map, rois)
    for number in range(3):
        alone = model.roi_head(model.backbone_and_rpn(pixels[number, None]).feature_map, rois[number, None])
        assert torch.allclose(together.features[number], alone.features[0], atol=1e-5)
        assert torch.allclose(together.class_scores[number], alone.class_scores[0], atol=1e-6)


def test_boxes_are_numbered_by_their_picture() -> None:
    numbered = numbered_rois(torch.arange(16.0).reshape(2, 2, 4))
    assert numbered[:, 0].tolist() == [0, 0, 1, 1]
    assert numbered[3, 1:].tolist() == [12, 13, 14, 15]


def test_frozen_norms_neither_learn_nor_count() -> None:
    for frozen in (True, False):
        model = FasterRcnn(replace(CONFIG, frozen_norm=frozen)).train()
        model.backbone_and_rpn(torch.rand(2, 3, 32, 32) * 255)
        norm = model.backbone.stem.conv1.norm
        assert norm.weight.requires_grad is not frozen
        assert bool((norm.running_mean == 0).all()) is frozen


def test_the_host_side_gets_the_models_own_anchors(model: FasterRcnn) -> None:
    model.cell_anchors[0] = torch.tensor([-1.0, -2, 3, 4])
    settings = model.anchored(DetectorSettings.bottom_up_attention())
    assert settings.cell_anchors[0] == (-1, -2, 3, 4)
    assert len(settings.cell_anchors) == 2
    assert settings.stride_px == 16
