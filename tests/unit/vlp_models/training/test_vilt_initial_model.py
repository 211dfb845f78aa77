from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_pictures import recipe_text
from vlp_models.families.vilt import ViltModel
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.vilt_initial_model import adapt_vilt, build_vilt
from vlp_spec.errors import ArtifactError, ConfigError


def _recipe(*overrides: str) -> Recipe:
    return parse_recipe(recipe_text(Path("x")), overrides)


def _model(*overrides: str, labels: int = 5) -> ViltModel:
    torch.manual_seed(len(overrides))
    return build_vilt(_recipe(*overrides), 20, labels)


def test_a_new_model_expects_one_answer() -> None:
    model = _model()
    assert model.config.image_size == 16
    assert torch.sigmoid(model.state_dict()["vqa_classifier.3.bias"]).sum().item() == pytest.approx(1.0)
    assert _model("model.image_size=24").config.grid_side == 3


def test_a_new_model_tells_places() -> None:
    positions = _model("model.image_size=24").transformer.pos_embed[0]
    assert not positions[0].abs().gt(0.1).any()
    assert positions[1:].abs().max() > 0.9


def test_a_head_of_the_same_answers_is_kept() -> None:
    source = _model()
    kept = adapt_vilt(source, _recipe(), num_labels=5).state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in source.state_dict().items())


def test_a_head_of_other_answers_is_new_as_a_whole() -> None:
    source = _model()
    adapted = adapt_vilt(source, _recipe(), num_labels=7)
    old, new = source.state_dict(), adapted.state_dict()
    assert new["vqa_classifier.3.bias"].shape == (7,)
    assert not torch.equal(old["vqa_classifier.0.weight"], new["vqa_classifier.0.weight"])
    assert torch.equal(old["pooler.dense.weight"], new["pooler.dense.weight"])


def test_a_grown_model_computes_what_its_source_does_until_it_is_trained() -> None:
    source = _model()
    grown = adapt_vilt(source, _recipe("model.init=x", "model.grow_layers=2"), num_labels=5)
    assert grown.config.num_layers == source.config.num_layers + 2
    side = source.config.patch_size**2 * 3
    inputs = (torch.rand(2, 4, side), torch.tensor([[2, 2], [1, 2]]), torch.tensor([[1, 5, 6], [1, 7, 0]]))
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    source.eval(), grown.eval()
    torch.testing.assert_close(grown.vqa_logits(*inputs, mask), source.vqa_logits(*inputs, mask))
    grown.vqa_logits(*inputs, mask).square().sum().backward()
    last = dict(grown.named_parameters())[f"transformer.blocks.{grown.config.num_layers - 1}.mlp.fc2.weight"]
    assert last.grad is not None
    assert last.grad.abs().max() > 0


def test_only_what_starts_from_a_checkpoint_grows() -> None:
    with pytest.raises(ConfigError, match="grow_layers: needs init"):
        _recipe("model.grow_layers=2")


def test_a_source_that_lacks_a_part_is_refused() -> None:
    class Torn(ViltModel):
        def state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
            full: dict[str, torch.Tensor] = super().state_dict(*args, **kwargs)  # type: ignore[misc]
            return {name: value for name, value in full.items() if name != "pooler.dense.bias"}

    with pytest.raises(ArtifactError, match=r"does not have pooler\.dense\.bias"):
        adapt_vilt(Torn(_model().config), _recipe(), num_labels=5)


def test_positions_that_were_lost_are_given_anew_and_nothing_else() -> None:
    source = _model("model.image_size=24")
    with torch.no_grad():
        source.transformer.pos_embed.zero_()
    kept = adapt_vilt(source, _recipe("model.init=x"), num_labels=5).state_dict()
    given = adapt_vilt(source, _recipe("model.init=x", "model.reset_positions=true"), num_labels=5).state_dict()
    changed = [name for name, value in kept.items() if not torch.equal(value, given[name])]
    assert changed == ["transformer.pos_embed"]
    assert given["transformer.pos_embed"][0, 1:].abs().max() > 0.9
    with pytest.raises(ConfigError, match="reset_positions: needs init"):
        _recipe("model.reset_positions=true")
