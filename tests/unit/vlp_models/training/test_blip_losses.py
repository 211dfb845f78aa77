from __future__ import annotations

import math

import pytest
import torch
from blip_training_rig import DEC, ROWS, SIZES, WIDTH, blip_batch, blip_model
from torch.nn import functional as F
from transformers import BlipForConditionalGeneration
from vlp_models.training.blip_initial_model import share_text_weights
from vlp_models.training.blip_losses import BlipLosses
from vlp_models.training.recipe_objectives import ItcRecipe, ItmRecipe, LmRecipe, ObjectivesRecipe, RegionsRecipe

EVERYTHING = ObjectivesRecipe(
    lm=LmRecipe(), regions=RegionsRecipe(), itc=ItcRecipe(), itm=ItmRecipe(negatives="hard", false_texts=0.5)
)


@pytest.mark.parametrize("prompt", [(), (11, 12)])
def test_captions_are_said_as_transformers_says_them(prompt: tuple[int, ...]) -> None:
    model, batch = blip_model(("caption",)), blip_batch()
    found = BlipLosses(model, ObjectivesRecipe(lm=LmRecipe()), prompt)({"pairs": batch})
    theirs = BlipForConditionalGeneration(model.config.hf).eval()
    missing, unexpected = theirs.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("text_decoder.cls.predictions.decoder") for name in missing)
    theirs.tie_weights()
    total, count = 0.0, 0
    for row in range(ROWS):
        words = batch["input_ids"][row][batch["text_mask"][row] == 1][1:]
        ids = torch.cat([torch.tensor([DEC, *prompt]), words])[None]
        pixels = (batch["pixels"][row : row + 1].permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        logs = theirs(pixel_values=pixels, input_ids=ids).logits[0].log_softmax(-1)
        total -= sum(logs[len(prompt) + place, word].item() for place, word in enumerate(words))
        count += len(words)
    assert count == 9
    assert found["lm"].item() == pytest.approx(total / count, rel=1e-4)


def test_region_words_are_those_of_the_patches() -> None:
    model, batch = blip_model(("caption",)), blip_batch()
    losses = BlipLosses(model, ObjectivesRecipe(lm=LmRecipe(0.5), regions=RegionsRecipe(2.0)))
    found = losses({"pairs": batch})
    patches = model.encode_image(batch["pixels"])[:, 1:]
    said = losses.region_words(patches[[0, 3], [1, 2]]).log_softmax(-1)
    torch.testing.assert_close(found["regions"], -(said[0, 7] + said[1, 8] + said[1, 9]).detach() / 3)
    torch.testing.assert_close(found["loss"].detach(), 0.5 * found["lm"] + 2.0 * found["regions"])


def test_equal_captions_and_pictures_are_no_negatives() -> None:
    model, batch = blip_model(("match",)), blip_batch()
    found = BlipLosses(model, ObjectivesRecipe(itc=ItcRecipe()))({"pairs": batch})
    image = F.normalize(model.image_embeds(model.encode_image(batch["pixels"])), dim=-1)
    text = F.normalize(model.text_embeds(batch["input_ids"], batch["text_mask"]), dim=-1)
    logits, total = image @ text.T / 0.07, 0.0
    for row, kept in enumerate([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]):
        for values in (logits[row], logits[:, row]):
            total += (values[kept].logsumexp(0) - values[row]).item() / (2 * ROWS)
    assert found["itc"].item() == pytest.approx(total, rel=1e-4)
    assert found["scale"].item() == pytest.approx(1 / 0.07, rel=1e-4)


def test_every_objective_reaches_its_weights() -> None:
    model = blip_model()
    losses = BlipLosses(model, EVERYTHING).train()
    found = losses({"pairs": blip_batch()})
    assert {"lm", "regions", "itc", "itm"} <= found.keys()
    found["loss"].backward()
    still = [name for name, value in losses.trainable().items() if value.grad is None or not value.grad.abs().max()]
    assert still == []


def test_a_step_without_matching_has_no_such_loss() -> None:
    batch = {name: value for name, value in blip_batch().items() if not name.startswith("false_")}
    assert "itm" not in BlipLosses(blip_model(), EVERYTHING)({"pairs": batch})


def test_shared_text_weights_stay_common() -> None:
    model = blip_model()
    apart = sum(parameter.numel() for parameter in model.parameters())
    share_text_weights(model)
    losses = BlipLosses(model, EVERYTHING).train()
    common = sum(parameter.numel() for parameter in model.parameters())
    text = SIZES["text_config"]
    self_attention = text["num_hidden_layers"] * (4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH)
    decoder = sum(parameter.numel() for parameter in model.text_decoder.bert.parameters())
    assert apart - common == decoder - self_attention
    optimizer = torch.optim.SGD(losses.trainable().values(), lr=0.1)
    losses({"pairs": blip_batch()})["loss"].backward()
    optimizer.step()
    state = model.state_dict()
    for name in (
        "embeddings.word_embeddings",
        *(f"encoder.layer.1.{part}" for part in ("output.dense", "intermediate.dense", "crossattention.self.key")),
    ):
        assert torch.equal(state[f"text_encoder.{name}.weight"], state[f"text_decoder.bert.{name}.weight"])
    own = "encoder.layer.1.attention.self.key.weight"
    assert not torch.equal(state[f"text_encoder.{own}"], state[f"text_decoder.bert.{own}"])


def test_the_queue_follows_slowly() -> None:
    model, batch = blip_model(), blip_batch()
    losses = BlipLosses(model, ObjectivesRecipe(itc=ItcRecipe(queue=6, momentum=0.5, alpha=0.0))).train()
    first = losses({"pairs": batch})
    losses.after_step()
    assert losses.queue.text_groups.tolist() == [0, 1, 1, 2, -1, -1]
    other = batch | {"text_groups": batch["text_groups"] + 10, "picture_groups": batch["picture_groups"] + 10}
    assert losses({"pairs": other})["itc"] > first["itc"]
    assert math.isfinite(first["itc"].item())
