"""UNITER's text embeddings: BERT's, with a token type for each token and a row more for each kind of input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp_models.layers.bert_text_embeddings import BertTextEmbeddings


class UniterTextEmbeddings(BertTextEmbeddings):
    """Sum of word, position and token type embeddings, normalised.

    Args:
        vocab_size: rows of the word table.
        max_positions: rows of the position table.
        hidden_size: width D.
        num_token_types: rows of the type table, which the regions share: 2; 3 with a second picture; 4 for VCR.
        layer_norm_eps: 1e-12 in the published model.
        dropout: probability, while training only.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.1; names of ChenRocks/UNITER.
    """

    def __init__(
        self,
        vocab_size: int,
        max_positions: int,
        hidden_size: int,
        *,
        num_token_types: int,
        layer_norm_eps: float,
        dropout: float,
    ) -> None:
        super().__init__(vocab_size, max_positions, hidden_size, layer_norm_eps=layer_norm_eps, dropout=dropout)
        self.token_type_embeddings = nn.Embedding(num_token_types, hidden_size)

    def forward(self, input_ids: Tensor, token_types: Tensor | None = None) -> Tensor:
        """Embed token ids.

        Args:
            input_ids: (B, T) int32 or int64, T at most max_positions; positions count from 0.
            token_types: (B, T) int; None: all of type 0.

        Returns:
            (B, T, D).
        """
        position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)
        embeds = self.word_embeddings(input_ids) + self.position_embeddings(position_ids)
        embeds = embeds + self.type_embeds(token_types, default=0)
        return self.dropout(self.LayerNorm(embeds))

    def type_embeds(self, token_types: Tensor | None, *, default: int) -> Tensor:
        """(B, S) int to (B, S, D); None to the one row `default`, (D,)."""
        if token_types is None:
            return self.token_type_embeddings.weight[default]
        return self.token_type_embeddings(token_types)
