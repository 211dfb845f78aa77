"""Language modelling: say a text word by word, each word after those before it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def next_tokens(input_ids: Tensor, text_mask: Tensor, num_given: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder reads, and what it shall say after each token.

    Args:
        input_ids: (B, T) int, the start token, perhaps a prompt, the text and its end.
        text_mask: (B, T) int or bool, true = a token.
        num_given: tokens at the beginning that are given and not said: the start token and the prompt.

    Returns:
        read (B, T - 1) int, said (B, T - 1) int64, and where a loss is due (B, T - 1) bool: not on given tokens, and
        not on padding.
    """
    is_said = text_mask[:, 1:].bool().clone()
    is_said[:, : num_given - 1] = False
    return input_ids[:, :-1], input_ids[:, 1:].long(), is_said


def language_modelling_loss(logits: Tensor, said: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum over tokens of the cross entropy.

    Args:
        logits: (N, vocabulary) float.
        said: (N,) int64.
        smoothing: share of the target that is spread over the whole vocabulary, 0 to below 1; 0.1 in BLIP.

    Returns:
        () float; the caller divides by its number of tokens.

    Source: Li et al. 2022 (arXiv:2201.12086), sec. 3.2.
    """
    return F.cross_entropy(logits, said, reduction="sum", label_smoothing=smoothing)
