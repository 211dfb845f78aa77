from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from vlp_models.families.uniter import Regions, UniterModel
from vlp_models.families.uniter_config import HEADS, NLVR2_VARIANTS, UniterConfig
from vlp_spec.errors import InvalidArgumentError, TaskNotSupportedError

CONFIG = UniterConfig(
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=12,
    vocab_size=20,
    max_positions=6,
    heads=HEADS,
    num_token_types=4,
    region_size=5,
    num_region_classes=4,
    num_labels=3,
    entailment_labels=("no", "yes", "maybe"),
)
INPUT_IDS = torch.tensor([[1, 7, 8, 9, 2], [1, 5, 2, 0, 0]], dtype=torch.int32)
TEXT_MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.int32)
TEXT_TYPES = torch.tensor([[0, 0, 2, 2, 2], [0, 2, 3, 0, 0]], dtype=torch.int32)
REGION_MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.int32)


def _make(config: UniterConfig) -> UniterModel:
    torch.manual_seed(0)
    model = UniterModel(config)
    model.init_weights()
    for parameter in model.parameters():
        # The initial weights are so small that mistakes would hide behind the tolerance.
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def model() -> UniterModel:
    return _make(CONFIG)


@pytest.fixture
def regions() -> Regions:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, 5, generator=generator), torch.rand(2, 4, 7, generator=generator), REGION_MASK


def test_all_heads_give_their_shapes(model: UniterModel, regions: Regions) -> None:
    one = (INPUT_IDS, TEXT_MASK, *regions)
    assert model.vqa_logits(*one).shape == (2, 3)
    assert model.entailment_logits(*one).shape == (2, 3)
    assert model.itm_logits(*one).shape == (2, 2)
    assert model.rank_scores(*one).shape == (2,)
    assert model.grounding_scores(*one).shape == (2, 4)
    assert model.vcr_scores(*one, text_types=TEXT_TYPES).shape == (2,)
    assert model.mlm_logits(*one).shape == (2, 5, 20)
    output = model(*one)
    assert model.regress_features(output.region_feats).shape == (2, 4, 5)
    assert model.classify_regions(output.region_feats).shape == (2, 4, 4)
    assert model.nlvr2_logits(INPUT_IDS, TEXT_MASK, regions, regions).shape == (2, 2)


def test_a_neighbour_and_padding_change_nothing(model: UniterModel, regions: Regions) -> None:
    together = model(INPUT_IDS, TEXT_MASK, *regions)
    features, positions, mask = (item[1:, :2] for item in regions)
    alone = model(INPUT_IDS[1:, :3], TEXT_MASK[1:, :3], features, positions, mask)

    assert torch.allclose(together.cls_feats[1], alone.cls_feats[0], rtol=0, atol=1e-6)
    assert torch.allclose(together.text_feats[1, :3], alone.text_feats[0], rtol=0, atol=1e-5)
    assert torch.allclose(together.region_feats[1, :2], alone.region_feats[0], rtol=0, atol=1e-5)
    assert together.region_mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert not together.region_feats[1, 2:].any()


def test_padded_regions_may_hold_anything(model: UniterModel, regions: Regions) -> None:
    features, positions, mask = (item.clone() for item in regions)
    expected = model(INPUT_IDS, TEXT_MASK, features, positions, mask)
    features[1, 2:], positions[1, 2:] = float("nan"), float("inf")
    for ours, theirs in zip(model(INPUT_IDS, TEXT_MASK, features, positions, mask), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_regions_have_no_order(model: UniterModel, regions: Regions) -> None:
    order = torch.tensor([2, 0, 3, 1])
    shuffled = tuple(item[:, order] for item in regions)
    expected = model(INPUT_IDS, TEXT_MASK, *regions)
    got = model(INPUT_IDS, TEXT_MASK, *shuffled)
    assert torch.allclose(got.cls_feats, expected.cls_feats, rtol=0, atol=1e-6)
    assert torch.allclose(got.region_feats, expected.region_feats[:, order], rtol=0, atol=1e-5)


def test_features_positions_and_types_matter(model: UniterModel, regions: Regions) -> None:
    features, positions, mask = regions
    one = (INPUT_IDS, TEXT_MASK)
    expected = model(*one, *regions).cls_feats
    changed = [
        model(*one, -features, positions, mask),
        model(*one, features, 1 - positions, mask),
        model(*one, *regions, region_types=torch.full((2, 4), 2)),
        model(*one, *regions, text_types=TEXT_TYPES),
    ]
    assert all(not torch.allclose(other.cls_feats, expected, atol=1e-3) for other in changed)


def test_half_precision_features_are_read(model: UniterModel, regions: Regions) -> None:
    features, positions, mask = regions
    half = model(INPUT_IDS, TEXT_MASK, features.half(), positions.half(), mask)
    same = model(INPUT_IDS, TEXT_MASK, features.half().float(), positions.half().float(), mask)
    assert torch.equal(half.cls_feats, same.cls_feats)


def test_a_masked_region_shows_its_place_and_nothing_else(model: UniterModel, regions: Regions) -> None:
    features, positions, mask = regions
    hidden = torch.tensor([[False, True, False, False], [False, False, False, False]])
    one = (INPUT_IDS, TEXT_MASK)
    expected = model(*one, *regions, region_masked=hidden)
    other = torch.where(hidden[:, :, None], features + 9, features)
    assert torch.equal(model(*one, other, positions, mask, region_masked=hidden).region_feats, expected.region_feats)
    assert not torch.allclose(model(*one, *regions).region_feats[0], expected.region_feats[0], atol=1e-3)
    moved = torch.where(hidden[:, :, None], 1 - positions, positions)
    elsewhere = model(*one, features, moved, mask, region_masked=hidden)
    assert not torch.allclose(elsewhere.region_feats[0], expected.region_feats[0], atol=1e-3)


def test_masked_regions_do_not_touch_the_row_that_is_always_zero(regions: Regions) -> None:
    torch.manual_seed(0)
    model = UniterModel(CONFIG).train()
    model.init_weights()
    table = model.uniter.img_embeddings.mask_embedding.weight
    assert not table[0].any()
    hidden = torch.tensor([[True, False, False, False], [True, False, False, False]])
    output = model(INPUT_IDS, TEXT_MASK, *regions, region_masked=hidden)
    model.regress_features(output.region_feats[hidden]).sum().backward()
    assert table.grad is not None
    assert table.grad[1].any()
    assert not table.grad[0].any()


def test_tied_weights_are_one_parameter(model: UniterModel) -> None:
    names = set(model.state_dict())
    assert not names & {"cls.predictions.decoder.weight", "feat_regress.weight"}
    feats = torch.randn(1, 8)
    before = model.decode_words(feats), model.regress_features(feats)
    with torch.no_grad():
        model.uniter.embeddings.word_embeddings.weight[3] += 1
        model.uniter.img_embeddings.img_linear.weight[:, 2] += 1
    after = model.decode_words(feats), model.regress_features(feats)
    assert (before[0] != after[0]).nonzero().tolist() == [[0, 3]]
    assert (before[1] != after[1]).nonzero().tolist() == [[0, 2]]


def test_only_real_regions_can_be_what_a_phrase_speaks_of(model: UniterModel, regions: Regions) -> None:
    scores = model.grounding_scores(INPUT_IDS, TEXT_MASK, *regions)
    assert scores.isfinite().tolist() == [[True] * 4, [True, True, False, False]]
    assert scores.softmax(dim=1)[1, 2:].tolist() == [0, 0]


def test_zero_shot_retrieval_takes_the_logit_of_a_match(model: UniterModel, regions: Regions) -> None:
    one = (INPUT_IDS, TEXT_MASK, *regions)
    assert torch.equal(model.zero_shot_rank_scores(*one), model.itm_logits(*one)[:, 1])


@pytest.mark.parametrize("variant", NLVR2_VARIANTS)
def test_left_and_right_are_told_apart_and_may_differ_in_slots(variant: str, regions: Regions) -> None:
    model = _make(replace(CONFIG, nlvr2_variant=variant))
    left, right = regions, (regions[0].flip(0)[:, :2], regions[1].flip(0)[:, :2], REGION_MASK[:, :2])
    logits = model.nlvr2_logits(INPUT_IDS, TEXT_MASK, left, right)
    assert not torch.allclose(logits, model.nlvr2_logits(INPUT_IDS, TEXT_MASK, right, left), atol=1e-3)
    padded = tuple(torch.cat([item, torch.zeros_like(item)], dim=1) for item in right)
    features, positions, mask = padded
    again = model.nlvr2_logits(INPUT_IDS, TEXT_MASK, left, (features, positions, mask))
    assert torch.allclose(logits, again, rtol=0, atol=1e-5)


def test_a_pair_reads_the_whole_sequences_and_a_triplet_one(regions: Regions) -> None:
    names = {variant: set(_make(replace(CONFIG, nlvr2_variant=variant)).state_dict()) for variant in NLVR2_VARIANTS}
    assert names["paired"] == names["triplet"]
    extra = {name.split(".")[0] for name in names["paired-attn"] - names["paired"]}
    assert extra == {"attn1", "attn2", "fc", "attn_pool"}


def test_a_pictures_embeddings_can_be_shared_by_texts(model: UniterModel, regions: Regions) -> None:
    one = tuple(item[:1] for item in regions)
    embeds = model.uniter.embed_regions(*one)
    text_embeds = model.uniter.embed_text(INPUT_IDS)
    fused = model.uniter.fuse(text_embeds, TEXT_MASK, embeds.expand(2, -1, -1), one[2].expand(2, -1))
    direct = model(INPUT_IDS, TEXT_MASK, *(item.expand(2, *item.shape[1:]) for item in one))
    assert torch.allclose(fused.cls_feats, direct.cls_feats, rtol=0, atol=1e-6)


def test_dropout_acts_in_training_only(model: UniterModel, regions: Regions) -> None:
    one = (INPUT_IDS, TEXT_MASK, *regions)
    assert torch.equal(model.vqa_logits(*one), model.vqa_logits(*one))
    model.train()
    assert not torch.equal(model.vqa_logits(*one), model.vqa_logits(*one))


def test_gradient_checkpointing_gives_the_same_gradients(regions: Regions) -> None:
    torch.manual_seed(0)
    model = UniterModel(replace(CONFIG, dropout=0.0, attention_dropout=0.0)).train()
    model.init_weights()
    gradients: list[Tensor] = []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        model.vqa_logits(INPUT_IDS, TEXT_MASK, *regions).sum().backward()
        gradients.append(model.uniter.encoder.layer[0].output.dense.weight.grad.clone())
    assert gradients[0].any()
    assert torch.allclose(*gradients, rtol=0, atol=1e-6)


def test_it_trains_in_bfloat16(model: UniterModel, regions: Regions) -> None:
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.nlvr2_logits(INPUT_IDS, TEXT_MASK, regions, regions)
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16
    for name, parameter in model.named_parameters():
        if name.startswith(("uniter.embeddings", "uniter.encoder", "attn", "nlvr2")):
            assert parameter.grad.isfinite().all(), name


def test_a_head_that_is_not_there_is_named(regions: Regions) -> None:
    model = UniterModel(replace(CONFIG, heads=("itm",), num_labels=0, entailment_labels=()))
    with pytest.raises(TaskNotSupportedError, match="no 'vqa' head; it has: itm"):
        model.vqa_logits(INPUT_IDS, TEXT_MASK, *regions)
    with pytest.raises(TaskNotSupportedError, match="no 'mrfr' head"):
        model.regress_features(torch.zeros(1, 8))


def test_what_the_model_cannot_read_is_refused(model: UniterModel, regions: Regions) -> None:
    features, positions, mask = regions
    with pytest.raises(InvalidArgumentError, match="got 7 tokens, expected at most 6"):
        model(torch.ones(2, 7, dtype=torch.int32), torch.ones(2, 7), *regions)
    with pytest.raises(InvalidArgumentError, match=r"region_features: got shape \[2, 4, 4\], expected .*5\)") as caught:
        model(INPUT_IDS, TEXT_MASK, features[:, :, :4], positions, mask)
    assert caught.value.field == "region_features"
    with pytest.raises(InvalidArgumentError, match=r"region_positions: got shape \[2, 4, 6\]"):
        model(INPUT_IDS, TEXT_MASK, features, positions[:, :, :6], mask)
