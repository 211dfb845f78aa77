from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pictures import recipe_text, writing_recipe_text
from vlp_models.checkpoints.blip_tokenizer import with_blip_tokens
from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.families.blip import BlipModel
from vlp_models.families.vilt import ViltModel
from vlp_models.training.blip_initial_model import build_blip
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.training_data import TrainingTexts
from vlp_models.training.vilt_initial_model import build_vilt
from vlp_spec.errors import ArtifactError

TOKENIZER = with_blip_tokens(build_tokenizer(["a red picture"], vocab_size=200).to_str())
TEXTS = TrainingTexts(TOKENIZER, (), 12)
MATCH = ("objectives.itc.weight=1", "objectives.itm.weight=1")


def _recipe(*overrides: str) -> Recipe:
    return parse_recipe(writing_recipe_text(Path("x")), overrides)


def _source(model: BlipModel | ViltModel) -> LoadedCheckpoint:
    return LoadedCheckpoint(model, TOKENIZER, None, {}, "source")


def _vilt(*overrides: str) -> ViltModel:
    recipe = parse_recipe(recipe_text(Path("x")), overrides)
    torch.manual_seed(0)
    model = build_vilt(recipe, TEXTS.vocab_size, 3).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def _pixels(side: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8))


def test_heads_are_those_that_the_objectives_train() -> None:
    assert build_blip(_recipe(), TEXTS).config.heads == ("caption",)
    assert build_blip(_recipe(*MATCH), TEXTS).config.heads == ("caption", "match")
    assert build_blip(_recipe("objectives.lm=", MATCH[0]), TEXTS).config.heads == ("match",)


def test_a_new_model_tells_places_and_pictures_apart() -> None:
    model = build_blip(_recipe("objectives.lm.prompt='a picture of '"), TEXTS).eval()
    assert model.vision_model.embeddings.position_embedding[0, 1:].abs().max() > 0.9
    states = model.encode_image(_pixels())
    assert (states[0] - states[1]).abs().max() > 0.1
    assert model.config.prompt == "a picture of "


def test_a_vilt_sees_the_same_as_picture_side() -> None:
    vilt = _vilt("model.num_layers=2")
    for grow in (0, 2):
        recipe = _recipe("model.init=x", f"model.towers.image_layers={2 + grow}")
        blip = build_blip(recipe, TEXTS, _source(vilt)).eval()
        pixels = _pixels()
        patches = pixels.reshape(2, 2, 8, 2, 8, 3).permute(0, 1, 3, 2, 4, 5).reshape(2, 4, 192)
        embeds, mask = vilt.embed_image(patches, torch.full((2, 2), 2))
        torch.testing.assert_close(blip.encode_image(pixels), vilt.transformer(embeds, mask), atol=1e-5, rtol=1e-4)


def test_blocks_above_those_of_the_source_learn_at_once() -> None:
    recipe = _recipe("model.init=x", "model.towers.image_layers=3")
    blip = build_blip(recipe, TEXTS, _source(_vilt("model.num_layers=2")))
    blip.encode_image(_pixels()).square().sum().backward()
    last = dict(blip.named_parameters())["vision_model.encoder.layers.2.mlp.fc2.weight"]
    assert last.grad is not None
    assert last.grad.abs().max() > 0


def test_another_grid_gets_positions_of_its_own() -> None:
    recipe = _recipe("model.init=x", "model.towers.image_size=24", "model.towers.image_layers=2")
    positions = build_blip(recipe, TEXTS, _source(_vilt("model.num_layers=2"))).vision_model.embeddings
    assert positions.position_embedding.shape == (1, 10, 8)


def test_a_blip_goes_on_with_other_heads() -> None:
    torch.manual_seed(0)
    first = build_blip(_recipe("objectives.lm.prompt='there is '"), TEXTS)
    recipe = _recipe("model.init=x", *MATCH)
    second = build_blip(recipe, TEXTS, _source(first))
    assert second.config.prompt == "there is "
    old, new = first.state_dict(), second.state_dict()
    assert all(torch.equal(value, new[name]) for name, value in old.items())
    # The encoder had no weights yet: it starts from the decoder's.
    for name in ("embeddings.word_embeddings", "encoder.layer.0.attention.self.key", "encoder.layer.0.output.dense"):
        assert torch.equal(new[f"text_encoder.{name}.weight"], old[f"text_decoder.bert.{name}.weight"])
    shared = build_blip(_recipe("model.init=x", "model.shares_text=true", *MATCH), TEXTS, _source(first))
    assert all(torch.equal(value, shared.state_dict()[name]) for name, value in old.items())
    assert shared.text_encoder.embeddings is shared.text_decoder.bert.embeddings


def test_a_word_head_of_its_own_is_taken_along() -> None:
    torch.manual_seed(0)
    tied = build_blip(_recipe(), TEXTS)
    first = BlipModel(replace(tied.config, tied_words=False))
    for overrides in ((), MATCH, ("model.shares_text=true", *MATCH)):
        second = build_blip(_recipe("model.init=x", *overrides), TEXTS, _source(first))
        new = second.state_dict()
        assert not second.config.tied_words
        assert all(torch.equal(value, new[name]) for name, value in first.state_dict().items())
        words = second.text_decoder.bert.embeddings.word_embeddings.weight
        assert not torch.equal(second.text_decoder.cls.predictions.decoder.weight, words)
    assert first.state_dict().keys() - tied.state_dict().keys() == {"text_decoder.cls.predictions.decoder.weight"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.towers.image_width=12"], "model.towers makes it"),
        (["model.towers.patch_size=4"], "model.towers makes it"),
    ],
)
def test_a_vilt_of_other_sizes_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        build_blip(_recipe("model.init=x", *overrides), TEXTS, _source(_vilt()))


def test_a_blip_of_another_picture_size_is_refused() -> None:
    first = build_blip(_recipe(), TEXTS)
    with pytest.raises(ArtifactError, match="sees 16 pixels"):
        build_blip(_recipe("model.init=x", "model.towers.image_size=24"), TEXTS, _source(first))


def test_a_tokenizer_without_the_tokens_is_refused() -> None:
    bare = TrainingTexts(build_tokenizer(["a red picture"], vocab_size=200).to_str(), (), 12)
    with pytest.raises(ArtifactError, match=r"\[DEC\]"):
        build_blip(_recipe(), bare)
