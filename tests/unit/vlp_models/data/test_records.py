from __future__ import annotations

from typing import Any

import pytest
from vlp_models.data.records import Hypothesis, PairStatement, Phrase, parse_record
from vlp_spec.errors import InvalidArgumentError


def test_a_whole_record_is_read() -> None:
    record = parse_record(
        {
            "id": "test-0",
            "image": "images/0.jpg",
            "captions": ["a red apple"],
            "questions": [{"question": "which colour?", "answers": {"red": 1.0, "pink": 0.3}, "type": "colour"}],
            "scene": {"anything": 1},
            "hypotheses": [{"hypothesis": "it is red", "label": "entailment", "type": "colour"}],
            "pair_statements": [{"statement": "both are red", "other": "test-1", "label": False}],
            "phrases": [{"phrase": "the apple", "box": [0.1, 0, 0.5, 1]}],
        }
    )
    assert record.hypotheses == (Hypothesis("it is red", "entailment", "colour"),)
    assert record.pair_statements == (PairStatement("both are red", "test-1", is_true=False),)
    assert record.phrases == (Phrase("the apple", (0.1, 0, 0.5, 1)),)
    assert (record.id, record.image, record.captions) == ("test-0", "images/0.jpg", ("a red apple",))
    assert record.questions[0].answers == {"red": 1.0, "pink": 0.3}
    assert record.questions[0].best_answer == "red"


def test_all_but_the_picture_is_optional() -> None:
    record = parse_record({"image": "0.jpg", "questions": [{"question": "what?", "answers": {"a": 1}}]}, key="7")
    assert (record.id, record.captions, record.questions[0].type) == ("7", (), "other")
    assert record.questions[0].human == ()


def test_what_people_answered_is_kept_as_given() -> None:
    people = ["Red", "red", "a red one"]
    record = parse_record({"questions": [{"question": "a", "answers": {"red": 1}, "human_answers": people}]})
    assert record.questions[0].human == tuple(people)


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ([], "expected an object"),
        ({"captions": "a red apple"}, "captions"),
        ({"captions": [" "]}, "captions"),
        ({"image": 3}, "image"),
        ({"questions": [1]}, r"questions\[0\]"),
        ({"questions": [{"question": "", "answers": {"a": 1}}]}, r"questions\[0\].question"),
        ({"questions": [{"question": "a", "answers": {}}]}, r"questions\[0\].answers"),
        ({"questions": [{"question": "a", "answers": {"b": 0}}]}, "'b'"),
        ({"questions": [{"question": "a", "answers": {"b": 1.5}}]}, "'b'"),
        ({"questions": [{"question": "a", "answers": {"b": True}}]}, "'b'"),
        ({"questions": [{"question": "a", "answers": {"b": 1}, "type": 4}]}, "type"),
        ({"questions": [{"question": "a", "answers": {"b": 1}, "human_answers": "b"}]}, "human_answers"),
        ({"questions": [{"question": "a", "answers": {"b": 1}, "human_answers": ["b", 1]}]}, "human_answers"),
        ({"hypotheses": [{"hypothesis": "a", "label": 1}]}, r"hypotheses\[0\].label"),
        ({"hypotheses": ["a"]}, r"hypotheses\[0\]: got str"),
        ({"pair_statements": [{"statement": "a", "other": "b", "label": 1}]}, r"pair_statements\[0\].label: got 1"),
        ({"pair_statements": [{"statement": "a", "label": True}]}, r"pair_statements\[0\].other"),
        ({"phrases": [{"phrase": "a", "box": [0, 0, 0, 1]}]}, r"phrases\[0\].box"),
        ({"phrases": [{"box": [0, 0, 1, 1]}]}, r"phrases\[0\].phrase"),
    ],
)
def test_a_fault_is_named(raw: Any, names: str) -> None:
    with pytest.raises(InvalidArgumentError, match=names):
        parse_record(raw)
