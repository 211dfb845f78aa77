from __future__ import annotations

import torch
from torch.nn import functional as F
from vlp_models.layers.attentional_pooler import AttentionalPooler

STATES, WIDTH, CONTEXT, HEADS, QUERIES = 5, 8, 6, 2, 3


def _pooler() -> AttentionalPooler:
    torch.manual_seed(0)
    pooler = AttentionalPooler(QUERIES, WIDTH, CONTEXT, HEADS, layer_norm_eps=1e-5)
    for parameter in pooler.parameters():
        torch.nn.init.normal_(parameter)
    return pooler


def test_each_query_takes_a_mean_of_what_it_looks_at() -> None:
    pooler, states = _pooler(), torch.randn(2, STATES, CONTEXT)
    looking = pooler.attention
    seen = F.layer_norm(states, (CONTEXT,), pooler.context_norm.weight, pooler.context_norm.bias)
    query, key, value = looking.query(pooler.queries), looking.key(seen), looking.value(seen)
    side, parts = WIDTH // HEADS, []
    for head in range(HEADS):
        own = slice(head * side, (head + 1) * side)
        shares = (query[:, own] @ key[..., own].transpose(1, 2) / side**0.5).softmax(-1)
        parts.append(shares @ value[..., own])
    expected = pooler.norm(pooler.dense(torch.cat(parts, dim=-1)))
    assert pooler(states).shape == (2, QUERIES, WIDTH)
    torch.testing.assert_close(pooler(states), expected)


def test_the_order_of_states_does_not_matter() -> None:
    pooler, states = _pooler(), torch.randn(1, STATES, CONTEXT)
    torch.testing.assert_close(pooler(states.flip(1)), pooler(states))
