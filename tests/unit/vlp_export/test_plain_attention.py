from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from vlp_export.plain_attention import PlainAttention


@pytest.mark.parametrize("leading", [(2, 3), (2, 4, 3)])
@pytest.mark.parametrize("masked", [True, False])
def test_it_is_torchs_attention_written_out(leading: tuple[int, ...], *, masked: bool) -> None:
    torch.manual_seed(0)
    query, keys, values = (torch.randn(*leading, size, 8) for size in (5, 7, 7))
    bias = torch.zeros(5, 7).masked_fill(torch.rand(5, 7) < 0.4, float("-inf")) if masked else None
    if bias is not None:
        bias[:, 0] = 0
    expected = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
    with PlainAttention():
        got = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_only_while_it_is_entered_and_only_attention() -> None:
    query = torch.ones(1, 1, 2, 4)
    with PlainAttention(), torch.profiler.profile() as profile:
        F.scaled_dot_product_attention(query, query, query)
        assert F.relu(torch.tensor(-1.0)) == 0
    assert not [event for event in profile.key_averages() if "scaled_dot_product" in event.key]
    with torch.profiler.profile() as profile:
        F.scaled_dot_product_attention(query, query, query)
    assert [event for event in profile.key_averages() if "scaled_dot_product" in event.key]
