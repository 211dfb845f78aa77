from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_spec.errors import InvalidArgumentError, TaskNotSupportedError

CONFIG = ViltConfig(
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    patch_size=2,
    image_size=6,
    vocab_size=20,
    max_text_len=6,
    heads=("vqa", "nlvr2", "itm", "mlm", "irtr"),
    num_labels=3,
    num_token_types=3,
)
GRID = torch.tensor([[2, 3], [1, 2]], dtype=torch.int32)
INPUT_IDS = torch.tensor([[1, 7, 8, 9, 2], [1, 5, 2, 0, 0]], dtype=torch.int32)
TEXT_MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.int32)


@pytest.fixture
def model() -> ViltModel:
    torch.manual_seed(0)
    model = ViltModel(CONFIG)
    model.init_weights()
    for parameter in model.parameters():
        # The initial weights are so small that mistakes would hide behind the tolerance.
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def patches() -> Tensor:
    return torch.randint(0, 256, (2, 7, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_all_heads_give_their_shapes(model: ViltModel, patches: Tensor) -> None:
    one = (patches, GRID, INPUT_IDS, TEXT_MASK)
    assert model.vqa_logits(*one).shape == (2, 3)
    assert model.itm_logits(*one).shape == (2, 2)
    assert model.mlm_logits(*one).shape == (2, 5, 20)
    assert model.rank_scores(*one).shape == (2,)
    assert model.nlvr2_logits((patches, GRID), (patches, GRID), INPUT_IDS, TEXT_MASK).shape == (2, 2)


def test_a_neighbour_and_padding_change_nothing(model: ViltModel, patches: Tensor) -> None:
    together = model(patches, GRID, INPUT_IDS, TEXT_MASK)
    alone = model(patches[1:, :2], GRID[1:], INPUT_IDS[1:, :3], TEXT_MASK[1:, :3])

    assert torch.allclose(together.cls_feats[1], alone.cls_feats[0], rtol=0, atol=1e-6)
    assert torch.allclose(together.text_feats[1, :3], alone.text_feats[0], rtol=0, atol=1e-5)
    assert torch.allclose(together.image_feats[1, :3], alone.image_feats[0], rtol=0, atol=1e-5)
    assert together.image_mask.tolist() == [[True] * 7 + [False], [True] * 3 + [False] * 5]
    assert not together.image_feats[1, 3:].any()


def test_padded_patches_may_hold_anything(model: ViltModel, patches: Tensor) -> None:
    normalised = patches.float() * 2 / 255 - 1
    expected = model(normalised, GRID, INPUT_IDS, TEXT_MASK)
    normalised[1, 2:] = float("nan")
    got = model(normalised, GRID, INPUT_IDS, TEXT_MASK)
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_raw_and_normalised_pixels_agree(model: ViltModel, patches: Tensor) -> None:
    raw = model.vqa_logits(patches, GRID, INPUT_IDS, TEXT_MASK)
    normalised = model.vqa_logits((patches.float() / 255 - 0.5) / 0.5, GRID, INPUT_IDS, TEXT_MASK)
    assert torch.allclose(raw, normalised, rtol=0, atol=1e-5)


def test_the_picture_and_its_place_matter(model: ViltModel, patches: Tensor) -> None:
    logits = model.vqa_logits(patches, GRID, INPUT_IDS, TEXT_MASK)
    assert not torch.allclose(logits[0], model.vqa_logits(255 - patches, GRID, INPUT_IDS, TEXT_MASK)[0], atol=1e-2)
    turned = model.vqa_logits(patches, GRID.flip(1), INPUT_IDS, TEXT_MASK)
    assert not torch.allclose(logits[0], turned[0], atol=1e-3)


def test_the_second_picture_has_its_own_modality(model: ViltModel, patches: Tensor) -> None:
    first = model.encode(patches, GRID, INPUT_IDS, TEXT_MASK, 1).cls_feats
    second = model.encode(patches, GRID, INPUT_IDS, TEXT_MASK, 2).cls_feats
    assert not torch.allclose(first, second, atol=1e-3)
    left, right = (patches, GRID), (patches.flip(0), GRID.flip(0))
    logits = model.nlvr2_logits(left, right, INPUT_IDS, TEXT_MASK)
    assert not torch.allclose(logits, model.nlvr2_logits(right, left, INPUT_IDS, TEXT_MASK), atol=1e-3)


def test_a_pictures_embeddings_can_be_shared_by_texts(model: ViltModel, patches: Tensor) -> None:
    embeds, mask = model.embed_image(patches[:1], GRID[:1])
    text_embeds = model.embed_text(INPUT_IDS)
    fused = model.fuse(text_embeds, TEXT_MASK, embeds.expand(2, -1, -1), mask.expand(2, -1))
    direct = model.encode(patches[:1].expand(2, -1, -1), GRID[:1].expand(2, -1), INPUT_IDS, TEXT_MASK)
    assert torch.allclose(fused.cls_feats, direct.cls_feats, rtol=0, atol=1e-6)


def test_dropout_acts_in_training_only(model: ViltModel, patches: Tensor) -> None:
    one = (patches, GRID, INPUT_IDS, TEXT_MASK)
    assert torch.equal(model.vqa_logits(*one), model.vqa_logits(*one))
    model.train()
    assert not torch.equal(model.vqa_logits(*one), model.vqa_logits(*one))


def test_gradient_checkpointing_gives_the_same_gradients(patches: Tensor) -> None:
    torch.manual_seed(0)
    model = ViltModel(replace(CONFIG, dropout=0.0)).train()
    model.init_weights()
    gradients = []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        model.vqa_logits(patches, GRID, INPUT_IDS, TEXT_MASK).sum().backward()
        gradients.append(model.transformer.blocks[0].attn.qkv.weight.grad.clone())
    assert gradients[0].any()
    assert torch.allclose(*gradients, rtol=0, atol=1e-6)


def test_it_trains_in_bfloat16(model: ViltModel, patches: Tensor) -> None:
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.vqa_logits(patches, GRID, INPUT_IDS, TEXT_MASK)
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16
    for name, parameter in model.named_parameters():
        if not name.startswith(("nlvr2", "itm", "mlm", "rank")):
            assert parameter.grad.isfinite().all(), name


def test_a_fresh_model_has_small_weights_everywhere() -> None:
    model = ViltModel(CONFIG)
    model.init_weights()
    for parameter in (model.transformer.cls_token, model.transformer.pos_embed, model.token_type_embeddings.weight):
        assert 0 < parameter.std() < 0.05


def test_a_head_that_is_not_there_is_named(patches: Tensor) -> None:
    model = ViltModel(replace(CONFIG, heads=("itm",), num_labels=0))
    with pytest.raises(TaskNotSupportedError, match="no 'vqa' head; it has: itm"):
        model.vqa_logits(patches, GRID, INPUT_IDS, TEXT_MASK)


def test_a_text_longer_than_the_position_table_is_refused(model: ViltModel, patches: Tensor) -> None:
    with pytest.raises(InvalidArgumentError, match="got 7 tokens, expected at most 6"):
        model.encode(patches, GRID, torch.ones(2, 7, dtype=torch.int32), torch.ones(2, 7))
