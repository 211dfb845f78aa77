"""BERT's text embeddings: word + position + segment, then layer normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BertTextEmbeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised. Names are those of BERT checkpoints.

    Args:
        vocab_size: rows of the word table.
        max_text_len: rows of the position table.
        hidden_size: width D.
        layer_norm_eps: BERT's is 1e-12; the logits notice another one.
        dropout: probability, while training only.

    Source: Devlin et al. 2019 (arXiv:1810.04805), sec. 3.
    """

    def __init__(
        self, vocab_size: int, max_text_len: int, hidden_size: int, *, layer_norm_eps: float, dropout: float
    ) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, hidden_size)
        self.position_embeddings = nn.Embedding(max_text_len, hidden_size)
        self.token_type_embeddings = nn.Embedding(2, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed token ids.

        Args:
            input_ids: (B, T) int32 or int64, T at most max_text_len. All tokens are of segment 0.

        Returns:
            (B, T, D).
        """
        position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)
        embeds = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        embeds = embeds + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embeds))
