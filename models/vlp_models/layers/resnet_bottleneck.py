"""Bottleneck blocks of a ResNet, named and shaped as Detectron2's."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ConvNorm(nn.Conv2d):
    """A convolution without bias that keeps the map's size (over the stride), and the batch norm after it.

    Args:
        in_width: channels in.
        out_width: channels out.
        kernel_size: odd.
        stride: of the convolution.
        dilation: of the convolution.
    """

    def __init__(self, in_width: int, out_width: int, kernel_size: int, *, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(
            in_width, out_width, kernel_size, stride=stride, padding=padding, dilation=dilation, bias=False
        )
        self.norm = nn.BatchNorm2d(out_width)

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_width, H, W) to (N, out_width, H / stride, W / stride)."""
        return self.norm(super().forward(input))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut.

    Args:
        in_width: channels in.
        bottleneck_width: channels between.
        out_width: channels out.
        stride: of the block.
        dilation: of the 3 x 3 convolution.
        stride_in_1x1: the first convolution has the stride, as in Caffe's ResNets, which passes over three of four
            places; else the 3 x 3 one.

    Source: He et al. 2016 (arXiv:1512.03385), sec. 4.1.
    """

    def __init__(
        self,
        in_width: int,
        bottleneck_width: int,
        out_width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        stride_in_1x1: bool = True,
    ) -> None:
        super().__init__()
        self.shortcut = (
            ConvNorm(in_width, out_width, 1, stride=stride) if in_width != out_width or stride != 1 else None
        )
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = ConvNorm(in_width, bottleneck_width, 1, stride=first)
        self.conv2 = ConvNorm(bottleneck_width, bottleneck_width, 3, stride=second, dilation=dilation)
        self.conv3 = ConvNorm(bottleneck_width, out_width, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, in_width, H, W) to (N, out_width, H / stride, W / stride), not negative."""
        shortcut = hidden if self.shortcut is None else self.shortcut(hidden)
        hidden = F.relu(self.conv1(hidden))
        hidden = F.relu(self.conv2(hidden))
        return F.relu(self.conv3(hidden) + shortcut)


def bottleneck_stage(
    depth: int,
    in_width: int,
    bottleneck_width: int,
    out_width: int,
    *,
    stride: int,
    dilation: int = 1,
    stride_in_1x1: bool = True,
) -> nn.Sequential:
    """`depth` blocks, of which the first has the stride and all have the dilation; see `Bottleneck`."""
    first = Bottleneck(
        in_width, bottleneck_width, out_width, stride=stride, dilation=dilation, stride_in_1x1=stride_in_1x1
    )
    rest = [Bottleneck(out_width, bottleneck_width, out_width, dilation=dilation) for _ in range(1, depth)]
    return nn.Sequential(first, *rest)
