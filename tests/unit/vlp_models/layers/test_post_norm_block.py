from __future__ import annotations

import torch
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer
from vlp_models.layers.post_norm_block import PostNormBlock
from vlp_models.layers.post_norm_encoder import PostNormEncoder
from vlp_models.layers.self_attention import key_mask_bias

SIZES = {"intermediate_size": 20, "layer_norm_eps": 1e-12, "dropout": 0.0, "attention_dropout": 0.0}


def test_it_is_berts_block_by_name_and_by_number() -> None:
    torch.manual_seed(0)
    config = BertConfig(hidden_size=12, num_attention_heads=3, intermediate_size=20, layer_norm_eps=1e-12)
    config._attn_implementation = "eager"
    theirs = BertLayer(config).double().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = PostNormBlock(12, 3, **SIZES).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)

    hidden = torch.randn(2, 5, 12, dtype=torch.float64)
    bias = key_mask_bias(torch.tensor([[True] * 5, [True, True, False, True, False]]), torch.float64)
    expected = theirs(hidden, attention_mask=bias)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(hidden, bias), expected, atol=1e-12, rtol=0)


def test_attention_weights_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    block = PostNormBlock(12, 3, **(SIZES | {"attention_dropout": 0.5}))
    hidden, bias = torch.randn(1, 6, 12), key_mask_bias(torch.ones(1, 6, dtype=torch.bool), torch.float32)
    assert not torch.equal(block(hidden, bias), block(hidden, bias))
    block.eval()
    assert torch.equal(block(hidden, bias), block(hidden, bias))


def test_the_encoder_runs_its_blocks_in_turn() -> None:
    torch.manual_seed(0)
    encoder = PostNormEncoder(12, num_layers=3, num_heads=3, **SIZES).eval()
    hidden, mask = torch.randn(2, 4, 12), torch.tensor([[True] * 4, [True, False, True, False]])
    expected = hidden
    for block in encoder.layer:
        expected = block(expected, key_mask_bias(mask, torch.float32))
    assert torch.equal(encoder(hidden, mask), expected)
    assert {name.split(".")[1] for name in encoder.state_dict()} == {"0", "1", "2"}
