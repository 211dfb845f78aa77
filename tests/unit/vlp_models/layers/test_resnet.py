from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from vlp_models.layers.resnet_bottleneck import Bottleneck, ConvNorm, bottleneck_stage
from vlp_models.layers.resnet_c4 import ResnetC4, ResnetStem


@pytest.mark.parametrize("size", [(33, 47), (32, 32), (16, 17), (3, 5)])
def test_the_stem_pools_as_caffe_does(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stem = ResnetStem(6).eval()
    pixels = torch.randn(2, 3, *size)
    with torch.no_grad():
        convolved = F.relu(stem.conv1(pixels))
        expected = F.max_pool2d(convolved, kernel_size=3, stride=2, padding=0, ceil_mode=True)
        assert torch.equal(stem(pixels), expected)


def test_a_convolution_is_followed_by_its_norm() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(2, 3, 3).eval()
    torch.nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    torch.nn.init.normal_(layer.norm.running_mean)
    pixels = torch.randn(1, 2, 5, 5)
    plain = F.conv2d(pixels, layer.weight, padding=1)
    mean, var = (value[:, None, None] for value in (layer.norm.running_mean, layer.norm.running_var))
    with torch.no_grad():
        assert torch.allclose(layer(pixels), (plain - mean) / (var + 1e-5).sqrt(), atol=1e-6)


@pytest.mark.parametrize(("in_1x1", "first", "second"), [(True, 2, 1), (False, 1, 2)])
def test_the_stride_is_where_it_is_said_to_be(in_1x1: bool, first: int, second: int) -> None:
    block = Bottleneck(4, 2, 8, stride=2, stride_in_1x1=in_1x1)
    assert (block.conv1.stride[0], block.conv2.stride[0], block.shortcut.stride[0]) == (first, second, 2)
    assert block.eval()(torch.randn(1, 4, 8, 10)).shape == (1, 8, 4, 5)


def test_dilation_keeps_the_size_and_a_block_of_one_width_has_no_shortcut_weights() -> None:
    stage = bottleneck_stage(3, 8, 4, 8, stride=1, dilation=2).eval()
    assert [block.shortcut for block in stage] == [None, None, None]
    assert {block.conv2.padding for block in stage} == {(2, 2)}
    hidden = stage(torch.randn(1, 8, 7, 7))
    assert hidden.shape == (1, 8, 7, 7)
    assert (hidden >= 0).all()


@pytest.mark.parametrize(("strides", "cells"), [((1, 2, 2), (4, 6)), ((1, 2, 1), (8, 12))])
def test_the_map_shrinks_by_the_product_of_the_strides(strides: tuple[int, int, int], cells: tuple[int, int]) -> None:
    backbone = ResnetC4(
        4, res2_width=8, bottleneck_width=2, depths=(1, 1, 2), strides=strides, stride_in_1x1=True
    ).eval()
    assert backbone(torch.randn(1, 3, 64, 96)).shape == (1, 32, *cells)
