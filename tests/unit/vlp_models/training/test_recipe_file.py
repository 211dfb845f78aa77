from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pictures import recipe_text
from vlp_models.training.recipe_file import dump_recipe, load_recipe, parse_recipe, shipped_recipes
from vlp_spec.errors import ConfigError

TEXT = recipe_text(Path("pictures"))


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_are_read_and_survive_writing(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_the_scenes_have_a_recipe_for_each_stage() -> None:
    assert {"scenes-pretrain", "scenes-vqa"} <= shipped_recipes().keys()
    assert load_recipe("scenes-pretrain").objectives.mlm is not None
    assert load_recipe("scenes-vqa").objectives.vqa is not None


def test_every_fault_is_listed_at_once() -> None:
    overrides = [
        "colour=1",
        "data.formt=jsonl",
        "optimisation.lr=fast",
        "optimisation.betas=[0.9]",
        "model.hidden_size=4.5",
        "objectives.vqa.loss=hinge",
        "image=3",
        "nonsense",
    ]
    with pytest.raises(ConfigError) as caught:
        parse_recipe(TEXT, overrides)
    faults = "\n".join(caught.value.faults)
    for part in (
        "--set 'nonsense'",
        "colour: unknown key",
        "data.formt: unknown key; did you mean 'format'?",
        "optimisation.lr: got 'fast', expected float",
        "model.hidden_size: got 4.5, expected int",
        "objectives.vqa.loss: got 'hinge', expected one of bce, ce",
        "image: got 3, expected a table",
    ):
        assert part in faults


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimisation.max_minutes=1", "exactly one above 0"),
        ("optimisation.max_steps=0", "exactly one above 0"),
        ("optimisation.betas=[0.9]", "betas"),
        ("optimisation.lr=0", "lr"),
        ("optimisation.warmup=1.0", "warmup"),
        ("objectives.wpa.weight=0.1", "wpa: needs itm"),
        ("objectives.vqa=", "expected at least one objective"),
        ("data.cache=disk", "cache_dir"),
        ("data.cache=cloud", "memory, disk"),
        ("data.root=", "data.root: missing"),
        ("image.longer_edge=8", "longer_edge"),
        ("image.patch_size=3", "multiple of patch_size"),
        ("objectives.mlm.probability=1", "probability"),
        ("objectives.itm.every=0", "every"),
        ("compute.precision=fp8", "precision"),
        ("freeze=pooler", "expected a list"),
        ("freeze=[1]", r"freeze\[0\]"),
        ("name.first=x", "is not a table"),
        ("model.init=3", "expected str"),
    ],
)
def test_a_value_that_cannot_be_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(TEXT, [override])


def test_overrides_are_toml_or_plain_text() -> None:
    overrides = [
        "optimisation.lr=1e-4",
        "data.root=/data/some place",
        'freeze=["pooler.*"]',
        "objectives.mlm.whole_words=false",
        "optimisation.max_steps=",
        "optimisation.max_minutes=3",
    ]
    recipe = parse_recipe(TEXT, overrides)
    assert recipe.optimisation.lr == 1e-4
    assert recipe.data.root == "/data/some place"
    assert recipe.freeze == ("pooler.*",)
    assert recipe.objectives.mlm is not None
    assert not recipe.objectives.mlm.whole_words
    assert (recipe.optimisation.max_steps, recipe.optimisation.max_minutes) == (0, 3.0)


def test_a_recipe_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shipped: .*scenes-vqa"):
        load_recipe("no-such")
    path = tmp_path / "recipe.toml"
    path.write_text("name = ")
    with pytest.raises(ConfigError, match="not TOML"):
        load_recipe(path)
    path.write_text(TEXT)
    assert load_recipe(path).name == "tiny"
