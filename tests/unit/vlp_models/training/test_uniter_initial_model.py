from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_gallery import JUDGEMENTS, uniter_recipe_text
from vlp_models.families.uniter import UniterModel
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.uniter_initial_model import adapt_uniter, build_uniter, wanted_heads
from vlp_spec.errors import ArtifactError

TYPES = "uniter.embeddings.token_type_embeddings.weight"
PRETRAINING = ("mlm", "itm", "mrm")


def recipe_of(*objectives: str, overrides: tuple[str, ...] = ()) -> Recipe:
    return parse_recipe(uniter_recipe_text(Path("somewhere"), *objectives), overrides)


def build(*objectives: str, overrides: tuple[str, ...] = (), classes: int = 4) -> UniterModel:
    torch.manual_seed(0)
    return build_uniter(
        recipe_of(*objectives, overrides=overrides),
        30,
        region_size=6,
        num_region_classes=classes,
        num_labels=5 if "vqa" in objectives else 0,
        labels=JUDGEMENTS if "entailment" in objectives else (),
    )


def adapt(
    source: UniterModel,
    *objectives: str,
    overrides: tuple[str, ...] = (),
    labels: tuple[str, ...] = JUDGEMENTS,
    num_labels: int = 5,
    classes: int = 4,
) -> UniterModel:
    torch.manual_seed(1)
    return adapt_uniter(
        source,
        recipe_of(*objectives, overrides=overrides),
        num_region_classes=classes,
        num_labels=num_labels if "vqa" in objectives else 0,
        labels=labels if "entailment" in objectives else (),
    )


def backbone(model: UniterModel, *, types: bool = True) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {name: value for name, value in state.items() if name.startswith("uniter.") and (types or name != TYPES)}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("objectives", "overrides", "heads"),
    [
        (("vqa",), (), {"vqa"}),
        (PRETRAINING, (), {"mlm", "itm", "mrfr", "mrc"}),
        (("mrm",), ("objectives.mrm.distribution=0",), {"mrfr"}),
        (("mrm",), ("objectives.mrm.features=0",), {"mrc"}),
        (("entailment", "reasoning", "referring"), (), {"entailment", "nlvr2", "grounding"}),
    ],
)
def test_heads_are_those_that_the_objectives_train(
    objectives: tuple[str, ...], overrides: tuple[str, ...], heads: set[str]
) -> None:
    assert set(wanted_heads(recipe_of(*objectives, overrides=overrides))) == heads


def test_a_new_model_has_the_recipes_shape_and_the_datas_sizes() -> None:
    model = build("vqa", "entailment", "mrm", overrides=("model.mlp_ratio=3",))
    config = model.config
    assert (config.hidden_size, config.num_layers, config.num_heads, config.intermediate_size) == (8, 2, 2, 24)
    assert (config.vocab_size, config.max_positions) == (30, 12)
    assert (config.region_size, config.num_region_classes, config.num_token_types) == (6, 4, 2)
    assert (config.num_labels, config.entailment_labels) == (5, JUDGEMENTS)
    assert (config.dropout, config.attention_dropout) == (0.0, 0.0)
    assert model.state_dict()["uniter.img_embeddings.img_linear.weight"].std() == pytest.approx(0.02, rel=0.3)
    assert not model.state_dict()["uniter.img_embeddings.mask_embedding.weight"][0].any()
    assert build("reasoning").config.num_token_types == 3
    assert build("reasoning", overrides=("objectives.reasoning.variant=triplet",)).config.nlvr2_variant == "triplet"


def test_equal_seeds_give_equal_models() -> None:
    assert same(build("vqa").state_dict(), build("vqa").state_dict())


def test_a_checkpoint_with_other_heads_keeps_its_body_and_gets_new_ones() -> None:
    source = build(*PRETRAINING)
    model = adapt(source, "vqa", "entailment", overrides=("model.dropout=0.25", "model.hidden_size=16"))
    assert same(backbone(model), backbone(source))
    assert set(model.config.heads) == {"vqa", "entailment"}
    assert (model.config.hidden_size, model.config.dropout) == (8, 0.25)  # the shape is the checkpoint's
    assert (model.config.num_labels, model.config.entailment_labels) == (5, JUDGEMENTS)
    heads = {name.split(".")[0] for name in model.state_dict()} - {"uniter"}
    assert heads == {"vqa_output", "entailment_output"}
    assert model.state_dict()["vqa_output.0.weight"].std() == pytest.approx(0.02, rel=0.3)


def test_heads_that_are_there_already_go_on_learning() -> None:
    source = build("mlm", "itm", "vqa", "entailment", "referring")
    model = adapt(source, "itm", "vqa", "entailment")
    kept = {name: value for name, value in source.state_dict().items() if name in model.state_dict()}
    assert same(model.state_dict(), kept)


def test_a_head_of_another_width_starts_anew_as_a_whole() -> None:
    source = build("vqa", "itm")
    model = adapt(source, "vqa", "itm", num_labels=7)
    assert model.config.num_labels == 7
    assert torch.equal(model.state_dict()["itm_output.weight"], source.state_dict()["itm_output.weight"])
    first = "vqa_output.0.weight"
    assert model.state_dict()[first].shape == source.state_dict()[first].shape
    assert not torch.equal(model.state_dict()[first], source.state_dict()[first])


def test_a_judge_of_other_labels_starts_anew_though_as_many_would_fit() -> None:
    source = build("entailment")
    first = "entailment_output.0.weight"
    kept = adapt(source, "entailment").state_dict()[first]
    assert torch.equal(kept, source.state_dict()[first])
    other = adapt(source, "entailment", labels=("no", "open", "yes"))
    assert other.config.entailment_labels == ("no", "open", "yes")
    assert not torch.equal(other.state_dict()[first], source.state_dict()[first])


def test_classes_are_those_of_the_detector_that_is_trained_on() -> None:
    source = build("mrm", classes=9)
    model = adapt(source, "mrm", classes=4)
    assert model.config.num_region_classes == 4
    shared = "feat_regress.net.0.weight"
    assert torch.equal(model.state_dict()[shared], source.state_dict()[shared])
    assert adapt(source, "mrm", classes=9).config.num_region_classes == 9
    assert adapt(source, "vqa", classes=4).config.num_region_classes == 9  # nobody is asked


def test_the_second_picture_starts_as_a_copy_of_the_first() -> None:
    source = build("itm")
    before = source.state_dict()[TYPES]
    model = adapt(source, "reasoning")
    after = model.state_dict()[TYPES]
    assert (before.shape[0], after.shape[0], model.config.num_token_types) == (2, 3, 3)
    assert torch.equal(after[:2], before)
    assert torch.equal(after[2], before[1])
    assert not torch.equal(before[0], before[1])
    assert same(backbone(model, types=False), backbone(source, types=False))
    again = adapt(model, "itm", "reasoning")
    assert torch.equal(again.state_dict()[TYPES], after)
    assert adapt(model, "itm").config.num_token_types == 3  # nothing is thrown away


def test_copies_share_nothing_with_the_source() -> None:
    source = build("itm")
    before = source.state_dict()[TYPES].clone()
    model = adapt(source, "reasoning")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    assert torch.equal(source.state_dict()[TYPES], before)


def test_a_checkpoint_without_a_part_of_the_body_is_refused() -> None:
    source = build("itm")
    source.config = replace(source.config, num_layers=3)
    with pytest.raises(ArtifactError, match=r"model\.init : does not have uniter\.encoder\.layer\.2\."):
        adapt(source, "itm")
