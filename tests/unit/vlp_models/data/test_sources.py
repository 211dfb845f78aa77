from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tiny_pictures import record_of, write_jsonl, write_shards
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import has_split, open_source
from vlp_spec.errors import ArtifactError


def test_both_forms_give_the_same_records_and_pictures(tmp_path: Path) -> None:
    lines = open_source(write_jsonl(tmp_path / "lines", {"train": 7}), "train")
    shards = open_source(write_shards(tmp_path / "shards", {"train": 7}), "train")
    read = [
        [(raw.record.id, raw.record.questions, raw.image) for raw in source.read(FaultCounter("train"))]
        for source in (lines, shards)
    ]
    assert len(read[0]) == 7
    assert read[0] == read[1]


@pytest.mark.parametrize("write", [write_jsonl, write_shards])
def test_records_can_be_read_alone(tmp_path: Path, write: object) -> None:
    assert callable(write)
    source = open_source(write(tmp_path, {"train": 3}), "train")
    assert [record.id for record in source.read_records(FaultCounter("train"))] == ["train-0", "train-1", "train-2"]


def test_faulty_lines_are_skipped_and_named(tmp_path: Path) -> None:
    root = write_jsonl(tmp_path, {"train": 3})
    path = root / "train.jsonl"
    path.write_text("{broken\n" + path.read_text() + '\n{"id": "x", "image": "missing.png"}\n')
    faults = FaultCounter("train")
    assert len(list(open_source(root, "train").read(faults))) == 3
    assert [reason.split(" ")[0] for reason in faults.reasons] == ["train.jsonl:1:", "train.jsonl:6:"]


def test_a_shard_that_is_cut_short_ends_there(tmp_path: Path) -> None:
    root = write_shards(tmp_path, {"train": 4}, shard_size=2)
    first = root / "train-000000.tar"
    first.write_bytes(first.read_bytes()[: 512 * 3 + 100])
    faults = FaultCounter("train")
    found = [raw.record.id for raw in open_source(root, "train").read(faults)]
    assert found[-2:] == ["train-2", "train-3"]
    assert faults.reasons


def test_a_sample_without_a_picture_is_skipped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-000000.tar", "w") as shard:
        content = json.dumps(record_of("train", 0)).encode()
        member = tarfile.TarInfo("0.json")
        member.size = len(content)
        shard.addfile(member, io.BytesIO(content))
    faults = FaultCounter("train")
    assert list(open_source(tmp_path, "train").read(faults)) == []
    assert "no picture" in faults.reasons[0]


def test_a_missing_split_says_what_there_is(tmp_path: Path) -> None:
    root = write_jsonl(tmp_path, {"train": 1})
    assert has_split(root, "train")
    assert not has_split(root, "test")
    with pytest.raises(ArtifactError, match=r"no split 'test'.*found: train"):
        open_source(root, "test")
    with pytest.raises(ArtifactError, match="format 'zip'"):
        open_source(root, "train", "zip")


def test_many_faults_end_the_run_and_few_do_not(caplog: pytest.LogCaptureFixture) -> None:
    few, many, none = FaultCounter("a"), FaultCounter("b", max_lines=1), FaultCounter("c")
    few.note("a:1", ValueError("torn"))
    few.check(kept=100)
    assert "1 of 101 records skipped" in caplog.text
    many.note("b:1", ValueError("torn"))
    many.note("b:2", ValueError("silent"))
    assert "silent" not in caplog.text
    with pytest.raises(ArtifactError, match="2 of 100 records skipped"):
        many.check(kept=98)
    with pytest.raises(ArtifactError, match="no readable record"):
        none.check(kept=0)
