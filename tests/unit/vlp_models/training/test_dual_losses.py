from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from vlp_models.families.dual_encoder import DualEncoder, build_dual_encoder
from vlp_models.training.dual_losses import DualLosses
from vlp_models.training.dual_patches import encode_with_patches
from vlp_models.training.recipe_objectives import ItcRecipe, ObjectivesRecipe, PhrasesRecipe, RegionsRecipe

SIZES = {
    "image_size": 8, "patch_size": 4, "image_width": 8, "image_layers": 1, "image_heads": 2, "vocab_size": 20,
    "max_text_len": 4, "text_width": 8, "text_layers": 1, "text_heads": 2, "dimension": 8, "eos_id": 3,
}  # fmt: skip
SIGMOID = ItcRecipe(loss="sigmoid")
ROWS = 4


def _model(kind: str = "clip") -> DualEncoder:
    torch.manual_seed(0)
    return build_dual_encoder(kind, **SIZES).eval()  # type: ignore[arg-type]


def _batch() -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    return {
        "pixels": torch.from_numpy(rng.integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8)),
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0], [2, 7, 3, 0], [2, 5, 3, 0]]),
        "text_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]),
        "text_groups": torch.tensor([0, 1, 1, 2]),  # rows 1 and 2 say the same
        "picture_groups": torch.tensor([7, 8, 9, 7]),  # rows 0 and 3 show the same
        "region_rows": torch.tensor([0, 3]),
        "region_slots": torch.tensor([1, 2]),
        "region_words": torch.tensor([[0, 7], [1, 8], [1, 9]]),
        "region_scale": torch.tensor(1 / 3),
        "phrase_slots": torch.arange(2 * ROWS) % 4,
        "phrase_ids": torch.tensor([[2, 8 + row % 5, 3, 0] for row in range(2 * ROWS)]),
        "phrase_mask": torch.tensor([[1, 1, 1, 0]] * 2 * ROWS),
        "phrase_groups": torch.arange(2 * ROWS) % 5,
    }


def _similarities(model: DualEncoder, batch: dict[str, Tensor]) -> Tensor:
    image = F.normalize(model.encode_image(batch["pixels"]), dim=-1)
    return image @ F.normalize(model.encode_text(batch["input_ids"], batch["text_mask"]), dim=-1).T


def _kept(row: int) -> list[int]:
    return [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]][row]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_patches_come_with_the_embedding_of_the_tower(kind: str) -> None:
    model, pixels = _model(kind), _batch()["pixels"]
    features = encode_with_patches(model, pixels)
    torch.testing.assert_close(features.embeds, model.encode_image(pixels))
    assert features.patches.shape == (ROWS, 4, 8)


def test_equal_captions_and_pictures_are_no_negatives() -> None:
    model, batch = _model(), _batch()
    found = DualLosses(model, ObjectivesRecipe(itc=ItcRecipe()))({"pairs": batch})
    logits = _similarities(model, batch) * model.logit_scale.exp()
    total = 0.0
    for row in range(ROWS):
        for values in (logits[row], logits[:, row]):
            total += (values[_kept(row)].logsumexp(0) - values[row]).item() / (2 * ROWS)
    assert found["itc"].item() == pytest.approx(total, rel=1e-5)
    assert found["scale"].item() == pytest.approx(1 / 0.07, rel=1e-3)
    assert found.keys() == {"loss", "itc", "itc_accuracy", "scale"}


def test_the_sigmoid_loss_has_a_bias() -> None:
    model, batch = _model("siglip"), _batch()
    found = DualLosses(model, ObjectivesRecipe(itc=SIGMOID))({"pairs": batch})
    logits = 10 * _similarities(model, batch) - 10
    total = 0.0
    for row in range(ROWS):
        for column in _kept(row):
            logit = logits[row, column].item()
            total += math.log1p(math.exp(-logit if row == column else logit)) / ROWS
    assert found["itc"].item() == pytest.approx(total, rel=1e-5)
    found["loss"].backward()
    assert model.logit_bias is not None
    assert model.logit_bias.grad is not None


def test_region_words_and_phrases_are_those_of_the_patches() -> None:
    model, batch = _model(), _batch()
    recipe = ObjectivesRecipe(regions=RegionsRecipe(2.0), phrases=PhrasesRecipe(0.5))
    losses = DualLosses(model, recipe)
    found = losses({"pairs": batch})
    patches = encode_with_patches(model, batch["pixels"]).patches
    said = losses.region_words(patches[[0, 3], [1, 2]]).log_softmax(-1)
    torch.testing.assert_close(found["regions"], -(said[0, 7] + said[1, 8] + said[1, 9]).detach() / 3)
    rows = torch.arange(2 * ROWS) // 2
    shown = F.normalize(model.hf.visual_projection(patches[rows, batch["phrase_slots"]]), dim=-1)
    words = F.normalize(model.encode_text(batch["phrase_ids"], batch["phrase_mask"]), dim=-1)
    logits, groups = model.logit_scale.exp() * shown @ words.T, batch["phrase_groups"]
    logits = logits.masked_fill((groups[:, None] == groups) & ~torch.eye(2 * ROWS, dtype=torch.bool), -math.inf)
    own = torch.arange(2 * ROWS)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(found["phrases"], expected.detach())
    torch.testing.assert_close(found["loss"].detach(), 2 * found["regions"] + 0.5 * found["phrases"])


def test_the_queue_fills_after_steps_and_its_pairs_become_negatives() -> None:
    model, batch = _model(), _batch()
    losses = DualLosses(model, ObjectivesRecipe(itc=ItcRecipe(queue=6, momentum=0.5, alpha=0.0))).train()
    first = losses({"pairs": batch})
    # Empty, and the slow encoder is the encoder: the loss is that of the batch.
    plain = DualLosses(model, ObjectivesRecipe(itc=ItcRecipe()))({"pairs": batch})
    torch.testing.assert_close(first["itc"], plain["itc"])
    assert losses.queue.is_empty_at.all()
    losses.after_step()
    assert losses.queue.text_groups.tolist() == [0, 1, 1, 2, -1, -1]
    other = batch | {"text_groups": batch["text_groups"] + 10, "picture_groups": batch["picture_groups"] + 10}
    assert losses({"pairs": other})["itc"] > first["itc"]
    # The same pairs again: all of the queue says the same, or shows the same, as some row.
    same = losses({"pairs": batch})["itc"]
    assert first["itc"] < same < losses({"pairs": other})["itc"]
    losses.eval()({"pairs": batch})
    assert len(losses._waiting) == 4 - 1
    assert {name.split(".")[0] for name in losses.own_state()} == {"slow", "queue"}
    assert not [name for name in losses.trainable() if name.startswith("slow")]


def test_the_state_of_the_objectives_is_taken_back() -> None:
    recipe = ObjectivesRecipe(itc=ItcRecipe(queue=6), regions=RegionsRecipe())
    one, two = DualLosses(_model(), recipe).train(), DualLosses(_model(), recipe)
    one({"pairs": _batch()})
    one.after_step()
    two.load_own_state(one.own_state())
    assert all(torch.equal(value, two.own_state()[name]) for name, value in one.own_state().items())
    with pytest.raises(KeyError, match="state of the objectives"):
        two.load_own_state({})


def test_the_temperature_stays_in_bounds() -> None:
    losses = DualLosses(_model(), ObjectivesRecipe(itc=ItcRecipe()))
    with torch.no_grad():
        losses.model.logit_scale.fill_(8.0)
    losses.after_step()
    assert losses.model.logit_scale.exp().item() == pytest.approx(100)
