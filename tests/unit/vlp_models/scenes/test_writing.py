from __future__ import annotations

from pathlib import Path

import pytest
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import RawPicture, open_source
from vlp_models.scenes.dataset import ScenesConfig, draw_picture, write_scenes
from vlp_models.scenes.world import Split

COUNTS: dict[Split, int] = {"train": 5, "test": 2}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "lines"
    write_scenes(root, ScenesConfig(COUNTS))
    return root


def _read(root: Path, split: str) -> list[RawPicture]:
    faults = FaultCounter(split)
    pictures = list(open_source(root, split).read(faults))
    assert not faults.reasons
    return pictures


def test_the_readers_find_what_was_drawn(lines: Path) -> None:
    for split, count in COUNTS.items():
        drawn = [draw_picture(split, index) for index in range(count)]
        read = _read(lines, split)
        assert [raw.record.id for raw in read] == [picture.id for picture in drawn]
        assert [raw.image for raw in read] == [picture.jpeg for picture in drawn]
        for raw, picture in zip(read, drawn, strict=True):
            assert list(raw.record.captions) == picture.record["captions"]
            assert [
                {"question": asked.text, "answers": asked.answers, "type": asked.type} for asked in raw.record.questions
            ] == picture.record["questions"]


def test_shards_hold_the_same_pictures_and_records_whatever_the_workers(lines: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    config = ScenesConfig(COUNTS, shard_size=2, workers=2)
    write_scenes(tmp_path, config, lambda split, done, count: seen.append((split, done, count)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("test-000000.tar", "train-000000.tar", "train-000001.tar", "train-000002.tar")
    ]
    assert seen == [(split, done, count) for split, count in COUNTS.items() for done in range(1, count + 1)]
    for split in COUNTS:
        one, other = _read(lines, split), _read(tmp_path, split)
        assert [raw.image for raw in one] == [raw.image for raw in other]
        for mine, theirs in zip(one, other, strict=True):
            assert mine.record.id == theirs.record.id
            assert mine.record.captions == theirs.record.captions
            assert mine.record.questions == theirs.record.questions
