from __future__ import annotations

import torch
from torch import nn
from vlp_models.layers.paired_attention import AttentionPooling, CrossAttention
from vlp_models.layers.self_attention import key_mask_bias


def test_it_is_torchs_attention_by_name_and_by_number() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double().eval()
    nn.init.normal_(theirs.in_proj_bias)
    ours = CrossAttention(12, 3, attention_dropout=0.1).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)

    hidden, context = torch.randn(2, 4, 12, dtype=torch.float64), torch.randn(2, 6, 12, dtype=torch.float64)
    mask = torch.tensor([[True] * 6, [True, False, True, True, False, False]])
    expected, _ = theirs(hidden, context, context, key_padding_mask=~mask, need_weights=False)
    torch.testing.assert_close(ours(hidden, context, key_mask_bias(mask, torch.float64)), expected, atol=1e-12, rtol=0)


def test_pooling_weighs_the_filled_positions_by_their_scores() -> None:
    pooling = AttentionPooling(2, dropout=0.0)
    with torch.no_grad():
        pooling.fc[0].weight.copy_(torch.tensor([[1.0, 0.0]]))
        pooling.fc[0].bias.zero_()
    hidden = torch.tensor([[[2.0, 5.0], [-3.0, 7.0], [9.0, 9.0]]])
    pooled = pooling(hidden, torch.tensor([[True, True, False]]))
    # The second score is below 0, so it counts as 0; the third position is padding.
    weight = torch.tensor(2.0).exp() / (torch.tensor(2.0).exp() + 1)
    torch.testing.assert_close(pooled[0], weight * hidden[0, 0] + (1 - weight) * hidden[0, 1])
