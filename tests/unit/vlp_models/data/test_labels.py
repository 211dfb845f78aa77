from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vlp_models.data.labels import TargetStore, build_labels, read_labels
from vlp_models.data.records import PictureRecord, Question
from vlp_spec.errors import ArtifactError


def _record(*answers: dict[str, float]) -> PictureRecord:
    return PictureRecord("0", "", (), tuple(Question("what?", item) for item in answers))


def test_the_most_frequent_answers_come_first() -> None:
    records = [_record({"b": 1.0}, {"c": 1.0, "a": 0.3}), _record({"b": 1.0}, {"d": 1.0}, {"c": 0.6})]
    assert build_labels(records) == ("b", "c", "a", "d")
    assert build_labels(records, min_count=2) == ("b", "c")
    with pytest.raises(ArtifactError, match="3 times"):
        build_labels(records, min_count=3)


def test_targets_keep_soft_scores_and_leave_out_other_answers() -> None:
    store = TargetStore.of([{"a": 1.0, "z": 0.9}, {"z": 1.0}, {"b": 0.3, "a": 0.6}], ["a", "b"])
    assert store.is_answerable.tolist() == [True, False, True]
    assert store.gather(np.array([2, 1, 0])).tolist() == [[0.6000000238418579, 0.30000001192092896], [0, 0], [1, 0]]


def test_a_label_file_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('["yes", "no"]')
    assert read_labels(path) == ("yes", "no")
    for content, message in [("{}", "JSON list"), ("[1]", "JSON list"), ('["a", "a"]', "twice"), ("[", "labels.json")]:
        path.write_text(content)
        with pytest.raises(ArtifactError, match=message):
            read_labels(path)
    with pytest.raises(ArtifactError, match="missing.json"):
        read_labels(tmp_path / "missing.json")
