from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from vlp_models.evaluation.caption_split import CaptionedPicture, caption_split, write_captions
from vlp_spec.errors import ArtifactError, InferenceError, InvalidImageError

CAPTIONS = {"p0": ["x"], "p1": [], "p2": ["y", "z"], "p3": ["x"], "p4": ["x"]}


class Reader:
    """Says what the file holds."""

    name = "reader@1"

    def __init__(self, answers: int = 1) -> None:
        self.asked: list[int] = []
        self._answers = answers

    def caption(self, images: Sequence[bytes]) -> Sequence[str]:
        self.asked.append(len(images))
        if b"broken" in images:
            raise InvalidImageError("image: cannot be read")
        return [image.decode() for image in images] * self._answers


def write(root: Path, captions: dict[str, list[str]], broken: str = "") -> Path:
    lines = []
    for name, own in captions.items():
        (root / name).write_text("broken" if name == broken else f"shows {name}")
        lines.append(json.dumps({"id": name, "image": name, "captions": own}))
    (root / "test.jsonl").write_text("\n".join(lines))
    return root


def said(pictures: Sequence[CaptionedPicture]) -> dict[str, str]:
    return {one.record.id: one.caption for one in pictures}


def test_pictures_with_captions_are_shown_in_batches(tmp_path: Path) -> None:
    reader, watched = Reader(), list[int]()
    pictures = caption_split(reader, write(tmp_path, CAPTIONS), "test", batch_size=3, watch=watched.append)
    assert said(pictures) == {name: f"shows {name}" for name in ("p0", "p2", "p3", "p4")}
    assert (reader.asked, watched) == ([3, 1], [3, 4])
    some = caption_split(reader, tmp_path, "test", limit=2, watch=watched.append)
    assert list(said(some)) == ["p0", "p2"]


def test_a_picture_that_cannot_be_read_is_left_out_and_its_neighbours_are_not(tmp_path: Path) -> None:
    many = {f"p{number}": ["x"] for number in range(120)}
    pictures = caption_split(Reader(), write(tmp_path, many, broken="p7"), "test", watch=lambda done: None)
    assert list(said(pictures)) == [name for name in many if name != "p7"]


def test_too_many_of_them_end_the_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="1 of 4 records skipped"):
        caption_split(Reader(), write(tmp_path, CAPTIONS, broken="p3"), "test", watch=lambda done: None)


def test_a_split_without_captions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no captions to compare with"):
        caption_split(Reader(), write(tmp_path, {"p0": []}), "test", watch=lambda done: None)


def test_a_captioner_says_one_caption_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="reader@1: got 8 captions, expected 4"):
        caption_split(Reader(answers=2), write(tmp_path, CAPTIONS), "test", watch=lambda done: None)


def test_captions_are_written_a_line_a_picture(tmp_path: Path) -> None:
    pictures = caption_split(Reader(), write(tmp_path, CAPTIONS), "test", watch=lambda done: None)
    write_captions(tmp_path / "said.jsonl", pictures)
    lines = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert {line["id"]: line["caption"] for line in lines} == said(pictures)
