"""Heads of UNITER; names are those of its published checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlp_models.layers.heads import MlmTransform


class NormalisedClassifier(nn.Sequential):
    """Linear, activation, LayerNorm, Linear (state-dict entries 0, 2 and 3). ViLT normalises before the activation.

    Args:
        in_size: width of the input.
        inner_size: width between.
        num_labels: outputs.
        layer_norm_eps: 1e-12 in the published model.
        activation: GELU by the error function where nothing is given; the VCR head has ReLU.

    Source: ChenRocks/UNITER.
    """

    def __init__(
        self,
        in_size: int,
        inner_size: int,
        num_labels: int,
        *,
        layer_norm_eps: float,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__(
            nn.Linear(in_size, inner_size),
            activation or nn.GELU(),
            nn.LayerNorm(inner_size, eps=layer_norm_eps),
            nn.Linear(inner_size, num_labels),
        )


class TiedMlmHead(nn.Module):
    """Masked language modelling whose decoder is the word table itself, which is passed in and not stored twice."""

    def __init__(self, hidden_size: int, vocab_size: int, *, layer_norm_eps: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.transform = MlmTransform(hidden_size, layer_norm_eps=layer_norm_eps)

    def forward(self, text_feats: Tensor, word_table: Tensor) -> Tensor:
        """(..., D) and the word embeddings (vocabulary, D) to (..., vocabulary)."""
        return F.linear(self.transform(text_feats), word_table, self.bias)


class RegionFeatureHead(nn.Module):
    """Predict the features of masked regions; the last map is the transposed one that embeds features, passed in."""

    def __init__(self, hidden_size: int, region_size: int, *, layer_norm_eps: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(region_size))
        self.net = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        )

    def forward(self, region_feats: Tensor, feature_map: Tensor) -> Tensor:
        """(..., D) and the weight (D, F) of `RegionEmbeddings.img_linear` to (..., F)."""
        return F.linear(self.net(region_feats), feature_map.t(), self.bias)


class RegionClassHead(nn.Module):
    """Predict the detector's class of masked regions; index 0 = background."""

    def __init__(self, hidden_size: int, num_classes: int, *, layer_norm_eps: float) -> None:
        super().__init__()
        self.net = NormalisedClassifier(hidden_size, hidden_size, num_classes, layer_norm_eps=layer_norm_eps)

    def forward(self, region_feats: Tensor) -> Tensor:
        """(..., D) to (..., classes)."""
        return self.net(region_feats)
