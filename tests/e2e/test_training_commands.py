"""`vlpserve train` and `vlpserve evaluate` one after another, as a person types them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_pictures import recipe_text, write_jsonl
from tiny_repository import publish
from vlp_cli.main import cli


@pytest.fixture(autouse=True)
def _logging_left_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_jsonl(tmp_path_factory.mktemp("data"), {"train": 12, "test": 6})
    (root / "recipe.toml").write_text(recipe_text(root))
    return root


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_train_then_evaluate(data: Path, tmp_path: Path) -> None:
    trained = _run("train", data / "recipe.toml", "--device", "cpu", "--out", tmp_path / "run", "--no-progress")
    assert trained.exit_code == 0, trained.output
    assert f"finished: {tmp_path / 'run' / 'final'}" in trained.stderr
    written = tmp_path / "predictions.jsonl"
    table = _run("evaluate", tmp_path / "run" / "final", "--data", data, "--predictions", written)
    assert table.exit_code == 0, table.output
    assert "baseline answers counted on split 'train'" in table.stdout
    assert {"colour", "existence", "macro", "all"} <= {line.split(" ")[0] for line in table.stdout.splitlines()[2:]}
    assert len(written.read_text().splitlines()) == 12
    found = json.loads(_run("evaluate", tmp_path / "run" / "final", "--data", data, "--json", "--limit", 4).stdout)
    assert found["questions"] == 4
    assert found["types"].keys() == {"colour", "existence"}
    again = _run("train", data / "recipe.toml", "--device", "cpu", "--out", tmp_path / "run", "--no-progress")
    assert again.exit_code == 2
    assert "holds a run" in again.output


def test_scenes_are_drawn_trained_on_and_asked(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    drawn = _run("scenes", root, "--train", 24, "--val", 2, "--test", 16, "--workers", 1)
    assert drawn.exit_code == 0, drawn.output
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_text(root))
    trained = _run("train", recipe, "--device", "cpu", "--out", tmp_path / "run", "--no-progress")
    assert trained.exit_code == 0, trained.output
    found = json.loads(_run("evaluate", tmp_path / "run" / "final", "--data", root, "--json").stdout)
    records = [json.loads(line) for line in (root / "test.jsonl").read_text().splitlines()]
    asked = Counter(question["type"] for record in records for question in record["questions"])
    assert {kind: item["questions"] for kind, item in found["types"].items()} == asked
    assert asked.keys() == {"kind", "colour", "count", "existence", "relation", "comparison"}
    assert found["baseline_split"] == "train"


def test_a_deployment_is_evaluated(data: Path, tmp_path: Path) -> None:
    publish(tmp_path, "tiny")
    found = _run("evaluate", "tiny", "--repository", tmp_path, "--data", data, "--json", "--blind")
    assert json.loads(found.stdout)["model"] == "tiny@1"


def test_faults_of_a_recipe_are_told_in_words(data: Path) -> None:
    failed = _run("train", data / "recipe.toml", "--set", "data.rot=x", "--set", "optimisation.lr=-1")
    assert failed.exit_code == 2
    assert "recipe: data.rot: unknown key; did you mean 'root'?" in failed.output
    assert "recipe: optimisation.lr: got -1.0, expected above 0" in failed.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'SOURCE'"),
        (["tiny", "--repository", "not-there"], "'not-there' does not exist"),
        (["not-there"], "not-there"),
    ],
)
def test_what_cannot_be_evaluated_is_told(data: Path, arguments: list[str], message: str) -> None:
    failed = _run("evaluate", "--data", data, *arguments)
    assert failed.exit_code == 2
    assert message in failed.output
