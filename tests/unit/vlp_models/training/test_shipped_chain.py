"""The shipped recipes follow one another: each starts from the run of an earlier one, and README tells the order."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import load_recipe, shipped_recipes

README = Path(__file__).parents[4] / "README.md"
RECIPES = {stage: load_recipe(stage) for stage in shipped_recipes()}
STAGE_OF_RUN = {recipe.name: stage for stage, recipe in RECIPES.items()}
LATER = sorted(stage for stage, recipe in RECIPES.items() if recipe.model.init)


def _start(recipe: Recipe) -> str:
    """Name of the run whose result a recipe starts from."""
    runs, name, result = PurePosixPath(recipe.model.init).parts
    assert (runs, result) == ("runs", "final")
    return name


def test_every_recipe_leaves_a_run_of_its_own() -> None:
    assert len(STAGE_OF_RUN) == len(RECIPES)


@pytest.mark.parametrize("stage", LATER)
def test_a_later_stage_starts_from_the_run_of_another(stage: str) -> None:
    seen = [stage]
    while RECIPES[seen[-1]].model.init:
        seen.append(STAGE_OF_RUN[_start(RECIPES[seen[-1]])])
        assert len(set(seen)) == len(seen), f"a circle: {seen}"


def test_the_readme_trains_every_stage_after_the_one_it_starts_from() -> None:
    told = re.findall(r"^vlpserve train (\S+)", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(told) == sorted(RECIPES)
    for stage in LATER:
        assert told.index(STAGE_OF_RUN[_start(RECIPES[stage])]) < told.index(stage)
