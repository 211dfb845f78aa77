"""`vlpserve evaluate` of a deployment that captions: the figures of what it said, beside captions nobody wrote."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from vlp_cli import evaluate_captions
from vlp_cli.main import cli
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import RawPicture, open_source
from vlp_models.evaluation.caption_baselines import MOST_FREQUENT, NEAREST_CAPTION, NEAREST_PICTURE
from vlp_models.evaluation.captioning import score_captions
from vlp_models.scenes.dataset import ScenesConfig, write_scenes
from vlp_spec.tasks import Task

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))  # tests are imported one by one, not as packages
from tiny_blip import shared_tiny_blip
from tiny_repository import publish, write_manifest

PICTURES = 8


class Parrot:
    """Says a picture's own count of things, of every fourth picture another's."""

    name = "parrot@1"

    def __init__(self, root: Path) -> None:
        self._captions = [(raw.image, raw.record.captions[2]) for raw in pictures_of(root)]

    def caption(self, images: Sequence[bytes]) -> Sequence[str]:
        known = [image for image, _ in self._captions]
        numbers = [known.index(image) for image in images]
        return [self._captions[number - (number % 4 == 3)][1] for number in numbers]


def pictures_of(root: Path) -> list[RawPicture]:
    return list(open_source(root, "test").read(FaultCounter("test")))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, ScenesConfig({"train": 12, "test": PICTURES}))
    return root


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that says that it captions."""
    root = tmp_path_factory.mktemp("repository")
    write_manifest(root, publish(root, "parrot"), tasks=(Task.CAPTION,))
    return root


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch, scenes: Path) -> Parrot:
    bird = Parrot(scenes)
    monkeypatch.setattr(evaluate_captions, "open_captioner", lambda repository, reference: contextlib.nullcontext(bird))
    return bird


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "parrot", *map(str, arguments)])


def test_a_captioner_stands_beside_its_baselines(
    parrot: Parrot, scenes: Path, repository: Path, tmp_path: Path
) -> None:
    written = tmp_path / "said.jsonl"
    done = evaluate("--repository", repository, "--data", scenes, "--json", "--predictions", written)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    raw = pictures_of(scenes)
    said = parrot.caption([one.image for one in raw])
    scores = score_captions(said, [one.record for one in raw])
    assert scores.scenes is not None
    assert (report["model"], report["pictures"], report["cider"]) == ("parrot@1", PICTURES, scores.cider)
    assert report["bleu"] == list(scores.bleu)
    assert (report["exact"], report["complete"]) == (scores.scenes.exact, scores.scenes.complete)
    assert report["types"] == {"counts": {"captions": PICTURES, "exact": 0.75}}
    assert list(report["baselines"]) == [NEAREST_PICTURE, NEAREST_CAPTION, MOST_FREQUENT]
    for baseline in report["baselines"].values():
        assert baseline["cider"] < report["cider"]
    assert [json.loads(line)["caption"] for line in written.read_text().splitlines()] == said


def test_tables_name_who_said_what(parrot: Parrot, scenes: Path, repository: Path) -> None:
    done = evaluate("--repository", repository, "--data", scenes, "--limit", 5, "--batch-size", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("parrot@1 on 5 pictures of split 'test'; baselines from ")
    assert lines[1].split() == ["captions", "BLEU-1", "BLEU-4", "CIDEr", "exact", "exact", "and", "complete"]
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        parrot.name,
        NEAREST_PICTURE,
        NEAREST_CAPTION,
        MOST_FREQUENT,
    ]
    assert lines[2].endswith("80.00%")
    assert lines[-1].split() == ["counts", "5", "80.00%"]


def test_without_a_training_split_there_is_no_baseline(
    parrot: Parrot, scenes: Path, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").symlink_to(scenes / "images")
    records = [json.loads(line) for line in (scenes / "test.jsonl").read_text().splitlines()]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(one | {"scene": None}) for one in records))
    done = evaluate("--repository", repository, "--data", tmp_path)
    assert done.exit_code == 0, done.output
    first, head, row = done.stdout.splitlines()
    assert first == f"parrot@1 on {PICTURES} pictures of split 'test'"
    assert (head.split(), len(row.split())) == (["captions", "BLEU-1", "BLEU-4", "CIDEr"], 4)


@pytest.mark.parametrize("option", [("--blind",), ("--device", "cuda"), ("--regions", ".")])
def test_what_captions_have_no_use_for_is_refused(scenes: Path, repository: Path, option: tuple[str, ...]) -> None:
    failed = evaluate("--repository", repository, "--data", scenes, *option)
    assert failed.exit_code == 2
    assert "not for a deployment that captions" in failed.output


def test_a_deployment_is_served_to_be_measured(scenes: Path, tmp_path: Path) -> None:
    repository = shared_tiny_blip("caption") / "repository"
    said = tmp_path / "said.jsonl"
    result = CliRunner().invoke(
        cli,
        [
            *("evaluate", "tiny-caption", "--repository", str(repository), "--data", str(scenes), "--json"),
            *("--train-split", "none", "--predictions", str(said), "--batch-size", "3"),
        ],
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["model"], report["pictures"]) == ("tiny-caption@1", PICTURES)
    assert 0 <= report["bleu"][3] <= 1
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert len(lines) == PICTURES
    assert all(line["caption"] for line in lines)


def test_a_deployment_that_writes_its_answers_is_asked_as_it_is_served(scenes: Path, tmp_path: Path) -> None:
    repository = shared_tiny_blip("vqa") / "repository"
    said = tmp_path / "said.jsonl"
    arguments = ["evaluate", "tiny-vqa", "--repository", str(repository), "--data", str(scenes), "--limit", "11"]
    result = CliRunner().invoke(cli, [*arguments, "--json", "--predictions", str(said)])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["model"], report["questions"]) == ("tiny-vqa@1", 11)
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    first = [question.text for raw in pictures_of(scenes) for question in raw.record.questions][:11]
    assert [line["question"] for line in lines] == first
    assert all(line["answer"] for line in lines)
    refused = CliRunner().invoke(cli, [*arguments, "--blind"])
    assert refused.exit_code == 2
