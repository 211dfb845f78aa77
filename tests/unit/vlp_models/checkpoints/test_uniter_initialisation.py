from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM
from vlp_models.checkpoints.uniter_initialisation import initialise_from_bert
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_spec.errors import ArtifactError

CONFIG = UniterConfig(
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    vocab_size=12,
    max_positions=6,
    heads=("mlm",),
    region_size=5,
)


def _bert() -> dict[str, Tensor]:
    """A masked language model's weights, with the parts of older files: a pooler, next sentences, gamma and beta."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=6,
    )
    state = dict(BertForMaskedLM(config).state_dict())
    state |= {"bert.pooler.dense.weight": torch.randn(8, 8), "bert.pooler.dense.bias": torch.randn(8)}
    state |= {"cls.seq_relationship.weight": torch.randn(2, 8), "cls.seq_relationship.bias": torch.randn(2)}
    state.pop("cls.predictions.decoder.bias", None)
    return {name.replace("LayerNorm.weight", "LayerNorm.gamma"): item for name, item in state.items()}


def _model(config: UniterConfig) -> UniterModel:
    torch.manual_seed(1)
    model = UniterModel(config)
    model.init_weights()
    return model


def test_the_shared_parts_are_berts_and_the_others_stay() -> None:
    model, bert = _model(CONFIG), _bert()
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    initialise_from_bert(model, bert, "bert")
    for name, tensor in model.state_dict().items():
        published = name.replace("uniter.", "bert.").replace("LayerNorm.weight", "LayerNorm.gamma")
        expected = own[name] if "img_embeddings" in name else bert[published]
        assert torch.equal(tensor, expected), name


def test_words_alone_read_as_bert_reads_them() -> None:
    model, bert = _model(CONFIG).eval(), _bert()
    initialise_from_bert(model, bert, "bert")
    theirs = BertForMaskedLM(
        BertConfig(
            vocab_size=12,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=12,
            max_position_embeddings=6,
        )
    ).eval()
    names = {name.replace("gamma", "weight"): item for name, item in bert.items()}
    theirs.load_state_dict({name: names.get(name, item) for name, item in theirs.state_dict().items()})
    ids, mask = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    no_regions = torch.zeros(2, 1, 5), torch.zeros(2, 1, 7), torch.zeros(2, 1)
    with torch.no_grad():
        ours, expected = model.mlm_logits(ids, mask, *no_regions), theirs(input_ids=ids, attention_mask=mask).logits
    filled = mask.bool()
    torch.testing.assert_close(ours[filled], expected[filled], atol=1e-5, rtol=0)


def test_further_token_types_keep_their_own_rows() -> None:
    model, bert = _model(replace(CONFIG, num_token_types=4)), _bert()
    table = model.uniter.embeddings.token_type_embeddings.weight
    own = table[2:].clone()
    initialise_from_bert(model, bert, "bert")
    assert torch.equal(table[:2], bert["bert.embeddings.token_type_embeddings.weight"])
    assert torch.equal(table[2:], own)


def test_a_bert_of_another_shape_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"intermediate.dense.weight is \[12, 8\], expected \[16, 8\]"):
        initialise_from_bert(_model(replace(CONFIG, intermediate_size=16)), _bert(), "bert")
    with pytest.raises(ArtifactError, match=r"no uniter.encoder.layer.2.* and 11 more"):
        initialise_from_bert(_model(replace(CONFIG, num_layers=3)), _bert(), "bert")
    without_decoder = {name: item for name, item in _bert().items() if not name.startswith("cls.")}
    with pytest.raises(ArtifactError, match="no cls.predictions.bias"):
        initialise_from_bert(_model(CONFIG), without_decoder, "bert")
