from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vlp_models.checkpoints.answer_list import parse_answer_list, read_answer_list
from vlp_spec.errors import ArtifactError


@pytest.mark.parametrize(
    "content",
    [
        ["net", "red", "yes"],
        {"0": "net", "2": "yes", "1": "red"},
        {"net": 0, "red": 1, "yes": 2},
        {"id2label": {"0": "net", "1": "red", "2": "yes"}, "label2id": {"net": 0}},
        {"label2id": {"net": 0, "red": 1, "yes": 2}},
    ],
)
def test_every_layout_of_the_field_is_read(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(content))
    assert read_answer_list(path, 3) == ("net", "red", "yes")


def test_the_hole_of_the_published_dictionary_is_an_empty_answer() -> None:
    published = {str(number): f"answer {number}" for number in range(3129) if number != 125}
    answers = parse_answer_list(published, 3129, "vqa_dict.json")
    assert len(answers) == 3129
    assert answers[124:127] == ("answer 124", "", "answer 126")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (["a"], "got 1 answers, but the model's head has 3 outputs"),
        ({"0": "a", "1": "b"}, r"got 2 answers with ids 0 to 1.*3 outputs \(ids 0 to 2\)"),
        ({"0": "a", "1": "b", "2": "c", "3": "d"}, "ids 0 to 3"),
        ({"2": "c"}, "got 1 answers"),
        ({"a": 0, "b": 0, "c": 1}, "two answers share an id"),
        (["a", 1, "c"], "not a list of answers"),
        ({}, "not a list of answers"),
        ({"a": "b"}, "not a list of answers"),
        ("yes", "not a list of answers"),
    ],
)
def test_what_is_no_list_for_this_head_is_refused(content: Any, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        parse_answer_list(content, 3, "answers.json")


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text("net\nred\n")
    with pytest.raises(ArtifactError, match=r"answers.json: not JSON"):
        read_answer_list(path, 2)
