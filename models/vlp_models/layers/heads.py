"""Task heads on top of a fused sequence. Each is small; names are those of the published ViLT checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MlpClassifier(nn.Sequential):
    """Linear, LayerNorm, GELU, Linear (state-dict entries 0, 1 and 3): VQA answers, or a pair of pictures.

    Args:
        in_size: width of the input; for a pair, of both pooled vectors together.
        inner_size: width between.
        num_labels: outputs.
        layer_norm_eps: torch's default 1e-5 in the published code.

    Source: Kim et al. 2021 (arXiv:2102.03334), sec. 4.3. UNITER's head has GELU before the normalisation.
    """

    def __init__(self, in_size: int, inner_size: int, num_labels: int, *, layer_norm_eps: float) -> None:
        super().__init__(
            nn.Linear(in_size, inner_size),
            nn.LayerNorm(inner_size, eps=layer_norm_eps),
            nn.GELU(),
            nn.Linear(inner_size, num_labels),
        )


class ItmHead(nn.Module):
    """Image-text matching: two logits, index 1 = the text belongs to the picture."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(hidden_size, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) to (B, 2)."""
        return self.fc(pooled)


class MlmTransform(nn.Module):
    """Linear, GELU, LayerNorm before the word decoder, as in BERT."""

    def __init__(self, hidden_size: int, *, layer_norm_eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return self.LayerNorm(F.gelu(self.dense(hidden)))


class MlmHead(nn.Module):
    """Masked language modelling: logits over the vocabulary; the decoder is not tied to the word embeddings."""

    def __init__(self, hidden_size: int, vocab_size: int, *, layer_norm_eps: float) -> None:
        super().__init__()
        self.transform = MlmTransform(hidden_size, layer_norm_eps=layer_norm_eps)
        self.decoder = nn.Linear(hidden_size, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, text_feats: Tensor) -> Tensor:
        """(B, T, D) to (B, T, vocabulary)."""
        return self.decoder(self.transform(text_feats)) + self.bias
