from __future__ import annotations

import torch
from torch.nn import functional as F
from vlp_models.layers.region_embeddings import RegionEmbeddings
from vlp_models.layers.uniter_text_embeddings import UniterTextEmbeddings


def test_features_position_and_type_are_normalised_apart_and_together() -> None:
    torch.manual_seed(0)
    layer = RegionEmbeddings(5, 8, layer_norm_eps=1e-12, dropout=0.1).eval()
    features, positions, kind = torch.randn(2, 3, 5), torch.rand(2, 3, 7), torch.randn(8)
    parts = [
        F.layer_norm(F.linear(item, linear.weight, linear.bias), (8,), eps=1e-12)
        for item, linear in ((features, layer.img_linear), (positions, layer.pos_linear))
    ]
    expected = F.layer_norm(parts[0] + parts[1] + kind, (8,), eps=1e-12)
    torch.testing.assert_close(layer(features, positions, kind), expected)


def test_a_masked_region_has_the_learned_features() -> None:
    torch.manual_seed(0)
    layer = RegionEmbeddings(5, 8, layer_norm_eps=1e-12, dropout=0.1).eval()
    features, positions, kind = torch.randn(1, 2, 5), torch.rand(1, 2, 7), torch.zeros(8)
    masked = layer(features, positions, kind, torch.tensor([[False, True]]))
    learned = torch.stack([features[0, 0], layer.mask_embedding.weight[1]])[None]
    assert torch.equal(masked, layer(learned, positions, kind))


def test_each_token_has_its_own_type() -> None:
    torch.manual_seed(0)
    layer = UniterTextEmbeddings(9, 4, 8, num_token_types=4, layer_norm_eps=1e-12, dropout=0.1).eval()
    ids = torch.tensor([[1, 5, 2]])
    types = torch.tensor([[0, 3, 2]])
    words, places = layer.word_embeddings.weight[ids[0]], layer.position_embeddings.weight[:3]
    expected = F.layer_norm(words + places + layer.token_type_embeddings.weight[types[0]], (8,), eps=1e-12)
    torch.testing.assert_close(layer(ids, types)[0], expected)
    assert torch.equal(layer(ids), layer(ids, torch.zeros_like(ids)))
