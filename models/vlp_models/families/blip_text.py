"""BLIP's text side: the mixture of encoder and decoder, and the word head. Names are those of transformers' BLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vlp_models.families.blip_config import BlipConfig
from vlp_models.families.blip_pairs import PairStates
from vlp_models.layers.heads import MlmTransform
from vlp_models.layers.med_block import CrossContext, KeysValues, MedBlock, TextAttention
from vlp_models.layers.self_attention import key_mask_bias


class MedEmbeddings(nn.Module):
    """Word and position embeddings, normalised; BLIP has no segments."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        text = config.hf.text_config
        self.word_embeddings = nn.Embedding(text.vocab_size, text.hidden_size)
        self.position_embeddings = nn.Embedding(text.max_position_embeddings, text.hidden_size)
        self.LayerNorm = nn.LayerNorm(text.hidden_size, eps=text.layer_norm_eps)
        self.dropout = nn.Dropout(text.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Embed (B, K, T) ids at positions (B or 1, 1, T), both int, as (B, K, T, D)."""
        embeds = self.word_embeddings(input_ids) + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(embeds))


class MedModel(nn.Module):
    """The transformer over texts, as an encoder or as a decoder.

    `gradient_checkpointing` may be set on the instance: blocks are then computed again in the backward pass.

    Args:
        config: the model's.
        context_size: width of the states that its blocks look at.
    """

    def __init__(self, config: BlipConfig, context_size: int) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.embeddings = MedEmbeddings(config)
        sizes = config.block_sizes(context_size)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(MedBlock(**sizes) for _ in range(config.hf.text_config.num_hidden_layers))}
        )

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks."""
        return cast(nn.ModuleList, self.encoder["layer"])

    def cross_states(self, states: Tensor) -> list[KeysValues]:
        """Keys and values of each block for (B, S, context width); (B, heads, S, D / heads) each."""
        blocks = [cast(MedBlock, block) for block in self.blocks]
        return [cast(TextAttention, block.crossattention["self"]).keys_values(states) for block in blocks]

    def encode(
        self, input_ids: Tensor, text_mask: Tensor, cross: Sequence[KeysValues] | Sequence[PairStates] | None = None
    ) -> Tensor:
        """Read whole texts, every token seeing every other.

        Args:
            input_ids: (B, K, T) int, K texts of each picture.
            text_mask: (B, K, T) int or bool, true = a token.
            cross: of `cross_states`, or of two pictures; None reads the texts by themselves.

        Returns:
            (B, K, T, D).
        """
        positions = torch.arange(input_ids.shape[2], device=input_ids.device)[None, None]
        hidden = self.embeddings(input_ids, positions)
        bias = key_mask_bias(text_mask.flatten(0, 1).to(torch.bool), hidden.dtype)
        bias = bias.unflatten(0, (input_ids.shape[0], input_ids.shape[1]))
        for index, block in enumerate(self.blocks):
            looked_at = None if cross is None else CrossContext(cross[index])
            hidden = self._run(block, hidden, bias, None, looked_at)[0]
        return hidden

    def decode(
        self,
        input_ids: Tensor,
        cross: Sequence[CrossContext],
        past: Sequence[KeysValues] | None = None,
        past_lengths: Tensor | None = None,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Read tokens that go on with texts, each seeing those before it.

        Args:
            input_ids: (B, K, T) int; what comes behind a shorter text's own tokens changes nothing before it.
            cross: for each block.
            past: of the positions before, (B, K, heads, P, D / heads) for each block; only the first `past_lengths`
                of them are real.
            past_lengths: (B,) int; needed with `past`.

        Returns:
            hidden (B, K, T, D), and the new positions' keys and values for each block.
        """
        tokens = input_ids.shape[2]
        steps = torch.arange(tokens, device=input_ids.device)
        allowed = steps[None, :] <= steps[:, None]  # (T, T)
        positions = steps[None, None]
        bias = _bias_of(allowed)[None, None, None]
        if past is not None and past_lengths is not None:
            positions = positions + past_lengths.to(torch.int64)[:, None, None]
            before = torch.arange(past[0].keys.shape[3], device=input_ids.device)
            is_real = before[None, :] < past_lengths[:, None]  # (B, P)
            earlier = _bias_of(is_real)[:, None, None, None].expand(-1, -1, -1, tokens, -1)
            bias = torch.cat([earlier, bias.expand(past_lengths.shape[0], -1, -1, -1, -1)], dim=4)
        hidden = self.embeddings(input_ids, positions)
        bias = bias.to(hidden.dtype)
        new = []
        for index, block in enumerate(self.blocks):
            hidden, made = self._run(block, hidden, bias, None if past is None else past[index], cross[index])
            new.append(made)
        return hidden, new

    def _run(
        self, block: nn.Module, hidden: Tensor, bias: Tensor, past: KeysValues | None, cross: CrossContext | None
    ) -> tuple[Tensor, KeysValues]:
        if self.gradient_checkpointing and self.training:
            made: tuple[Tensor, KeysValues] = checkpoint(block, hidden, bias, past, cross, use_reentrant=False)
            return made
        ran: tuple[Tensor, KeysValues] = block(hidden, bias, past, cross)
        return ran


class WordHead(nn.Module):
    """Logits over the vocabulary; its matrix is the word table of the transformer below, or one of its own.

    The parameters that are its own: `predictions.transform`, `predictions.bias`, and `predictions.decoder.weight` where
    the config's words are not tied.
    """

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        text = config.hf.text_config
        self.predictions = nn.Module()
        self.predictions.transform = MlmTransform(text.hidden_size, layer_norm_eps=text.layer_norm_eps)
        self.predictions.bias = nn.Parameter(torch.zeros(text.vocab_size))
        self.tied_words = config.tied_words
        if not config.tied_words:
            self.predictions.decoder = nn.Linear(text.hidden_size, text.vocab_size, bias=False)

    def forward(self, hidden: Tensor, word_table: Tensor) -> Tensor:
        """(..., D) to (..., vocabulary); the word table, (vocabulary, D), counts where words are tied."""
        transformed = self.predictions.transform(hidden)  # type: ignore[operator]
        matrix = word_table if self.tied_words else self.predictions.decoder.weight  # type: ignore[union-attr]
        return F.linear(transformed, matrix, self.predictions.bias)  # type: ignore[arg-type]


class MedDecoder(nn.Module):
    """The transformer with the word head."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.bert = MedModel(config, config.decoder_context)
        self.cls = WordHead(config)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., vocabulary)."""
        return self.cls(hidden, self.bert.embeddings.word_embeddings.weight)


def _bias_of(allowed: Tensor) -> Tensor:
    """0 where true, minus infinity elsewhere."""
    return torch.zeros_like(allowed, dtype=torch.float32).masked_fill(~allowed, float("-inf"))
