from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from vlp_cli.main import cli
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.scenes.dataset import ScenesConfig, write_scenes

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))  # tests are imported one by one, not as packages
from tiny_gallery import write_gallery
from tiny_regions import EXTRACTOR, tiny_detector_config, write_detector, write_uniter

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


def test_a_matcher_looks_at_every_pair_and_own_captions_are_counted_as_papers_do(scenes: Path) -> None:
    code, text = recall("scenes-itm", "--data", scenes, "--pictures", 6, "--queries", 5, "--as-published", "--json")
    assert code == 0, text
    figures = json.loads(text)
    assert list(figures)[:2] == ["words -> pictures", "pictures -> words"]
    assert figures["words -> pictures"]["recall"]["1"] >= figures["words -> own picture"]["recall"]["1"] > 1 / 6
    counted = figures["words -> own picture, as UNITER's script counts"]["recall"]
    assert counted["5"] > figures["words -> own picture"]["recall"]["5"]


def test_a_second_stage_on_top_of_every_pair_is_refused(scenes: Path) -> None:
    code, text = recall("scenes-itm", "--data", scenes, "--rerank", "scenes-itm")
    assert code == 2
    assert "looks at every pair already" in text


def test_a_matcher_of_regions_reads_its_extractor_or_a_store(tmp_path: Path) -> None:
    options = ExportOptions(proof_samples=4)
    repository = tmp_path / "repository"
    export_checkpoint(write_detector(tmp_path / EXTRACTOR), repository=repository, options=options)
    reading = dataclasses.replace(options, extractor=EXTRACTOR)
    export_checkpoint(write_uniter(tmp_path / "uniter", "itm"), repository=repository, options=reading)
    gallery = write_gallery(tmp_path / "gallery", {"test": 6}, tiny_detector_config().feature_width)
    common = ("uniter", "--repository", repository, "--data", gallery, "--as-published", "--json")
    stored = ("--regions", gallery / "regions" / "test")
    answers = [recall(*common, *more) for more in ((), stored)]
    assert [code for code, _ in answers] == [0, 0], answers
    found = [json.loads(text) for _, text in answers]
    assert found[0].keys() == found[1].keys()
    with_all_pictures = [one["words -> pictures"]["recall"]["10"] for one in found]
    assert with_all_pictures == [1, 1]
