from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from vlp_cli.main import cli
from vlp_models.scenes.dataset import ScenesConfig, write_scenes

PICTURES = 12


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, ScenesConfig({"test": PICTURES}))
    return root


def recall(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["recall", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_shipped_encoder_finds_pictures_and_the_shipped_matcher_sorts_them(scenes: Path) -> None:
    """Among twelve pictures a trained encoder is far above chance, and the second stage does not lose what it found."""
    code, text = recall("scenes-clip", "--data", scenes, "--rerank", "scenes-itm", "--candidates", 5, "--json")
    assert code == 0, text
    figures = json.loads(text)
    assert list(figures) == ["words -> pictures", "pictures -> words", "words -> pictures, first 5 by scenes-itm@1"]
    for one in figures.values():
        assert one["ceiling"] == 1
        assert one["recall"]["1"] > 3 * one["chance"]["1"]
    first, _, second = figures.values()
    assert second["recall"]["5"] == first["recall"]["5"]


def test_the_same_queries_in_one_stage_stand_beside_a_second_stage_of_some(scenes: Path) -> None:
    code, text = recall("scenes-clip", "--data", scenes, "--pictures", 6, "--rerank", "scenes-itm", "--queries", 4)
    assert code == 0, text
    assert "scenes-clip@1 on 6 pictures of split 'test'" in text
    assert "\nwords -> pictures, first 20 by scenes-itm@1 " in text
    assert "\nthe same queries, one stage " in text


def test_a_split_of_which_too_much_cannot_be_read_is_refused(scenes: Path, tmp_path: Path) -> None:
    lines = (scenes / "test.jsonl").read_text().splitlines()
    (tmp_path / "images").symlink_to(scenes / "images")
    (tmp_path / "test.jsonl").write_text("\n".join([*lines[:8], *("{" for _ in lines[8:])]))
    code, text = recall("scenes-clip", "--data", tmp_path)
    assert code == 2
    assert "4 of 12 records skipped" in text
