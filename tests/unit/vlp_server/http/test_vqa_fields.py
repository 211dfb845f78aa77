from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.config import LimitsConfig
from vlp_server.http.fields import check_fields, fields_from_pairs
from vlp_server.http.vqa_fields import VqaFields, ask_of
from vlp_spec.errors import InvalidArgumentError, RequestError, TooLargeError
from vlp_spec.tasks import VqaQuery

LIMITS = LimitsConfig(questions=2, question_chars=10, answers=2, answer_chars=3)


def test_limits_are_inclusive() -> None:
    fields = VqaFields(questions=["q" * 10, "q"], answers=["abc", "d"])
    assert ask_of(fields, LIMITS).queries[0] == VqaQuery("q" * 10, 5, ("abc", "d"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (VqaFields(question="q" * 11), "question: 11 characters, at most 10"),
        (VqaFields(questions=["q"] * 3), "questions: got 3, at most 2"),
        (VqaFields(question="q", answers=["a", "b", "c"]), "answers: got 3, at most 2"),
        (VqaFields(question="q", answers=["abcd"]), "answers: 4 characters, at most 3"),
        (VqaFields(question="q", model="m" * 301), "model: 301 characters"),
    ],
)
def test_over_a_limit(fields: VqaFields, message: str) -> None:
    with pytest.raises(TooLargeError, match=message):
        ask_of(fields, LIMITS)


def test_up_to_three_faults_are_told() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_fields(VqaFields, {"question": 1, "top_k": "x", "a": 1, "b": 2})
    assert caught.value.message.count(";") == 3  # one of them inside "unknown field"
    assert caught.value.field == "question"


def test_a_list_may_start_with_a_bracket_when_it_is_repeated() -> None:
    assert fields_from_pairs(VqaFields, [("answers", "[a"), ("answers", "b")]).answers == ["[a", "b"]


names = st.sampled_from(["question", "questions", "top_k", "answers", "model", "image", "x"])


@given(st.lists(st.tuples(names, st.text(max_size=12)), max_size=6))
def test_whatever_a_form_holds_it_is_read_or_refused_in_words(pairs: list[tuple[str, str]]) -> None:
    with suppress(RequestError):  # and nothing else
        queries = ask_of(fields_from_pairs(VqaFields, pairs), LIMITS).queries
        assert queries
        assert all(query.question.strip() for query in queries)
