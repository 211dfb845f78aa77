"""A ResNet up to its fourth stage: the backbone of a C4 detector, whose fifth stage works on regions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from vlp_models.layers.resnet_bottleneck import ConvNorm, bottleneck_stage

STEM_STRIDE = 4


class ResnetStem(nn.Module):
    """A 7 x 7 convolution and a maximum over 3 x 3, both of stride 2.

    The maximum is Caffe's: no padding in front, and a last window that may reach one place beyond the edge.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, width, 7, stride=2)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, width, H / 4, W / 4)."""
        # Nothing is below 0 here, so a zero behind the edge is the same as a window cut short (ceil_mode), whose size
        # torch.export cannot reason about.
        return F.max_pool2d(F.pad(F.relu(self.conv1(pixels)), (0, 1, 0, 1)), kernel_size=3, stride=2)


class ResnetC4(nn.Module):
    """Stem and stages res2, res3, res4; names are those of Detectron2's backbones.

    Args:
        stem_width: channels of the stem.
        res2_width: channels of res2; each later stage has twice as many.
        bottleneck_width: channels inside the blocks of res2; likewise.
        depths: blocks of the three stages.
        strides: of the three stages.
        stride_in_1x1: where a block has its stride; see `Bottleneck`.

    Source: He et al. 2016 (arXiv:1512.03385), table 1; Ren et al. 2015 (arXiv:1506.01497) for its use up to res4.
    """

    def __init__(
        self,
        stem_width: int,
        *,
        res2_width: int,
        bottleneck_width: int,
        depths: Sequence[int],
        strides: Sequence[int],
        stride_in_1x1: bool,
    ) -> None:
        super().__init__()
        self.stem = ResnetStem(stem_width)
        stages, in_width = [], stem_width
        for index, (depth, stride) in enumerate(zip(depths, strides, strict=True)):
            out_width = res2_width << index
            stages.append(
                bottleneck_stage(
                    depth,
                    in_width,
                    bottleneck_width << index,
                    out_width,
                    stride=stride,
                    stride_in_1x1=stride_in_1x1,
                )
            )
            in_width = out_width
        self.res2, self.res3, self.res4 = stages

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (N, 3, H, W) to (N, 4 * res2_width, rows, columns)."""
        return self.res4(self.res3(self.res2(self.stem(pixels))))
