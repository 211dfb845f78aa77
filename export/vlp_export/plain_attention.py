"""Attention as the products and the softmax that it stands for, in place of what torch's exporter makes of it.

The exporter knows no more than four axes, so no texts side by side; and it scales and turns the keys, which for a
decoder are the whole picture's at every word. Written so, runtimes read them where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """While it is entered, `F.scaled_dot_product_attention` is written out. Its mask must be an additive one."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of `func`."""
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, keys, values = args
        return _attention(query, keys, values, kwargs.get("attn_mask"))


def _attention(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """(..., T, D), (..., S, D) twice and an additive bias (..., T or 1, S) to (..., T, D)."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return torch.softmax(scores if bias is None else scores + bias, dim=-1) @ values
