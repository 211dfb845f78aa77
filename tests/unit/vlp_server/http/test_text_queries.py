from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.config import LimitsConfig
from vlp_server.http.entailment_fields import ENTAILMENT_CALL, EntailmentFields
from vlp_server.http.fields import fields_from_pairs
from vlp_server.http.grounding_fields import GROUNDING_CALL, GroundingFields
from vlp_server.http.picture_request import CallShape
from vlp_server.http.reasoning_fields import REASONING_CALL, ReasoningFields
from vlp_spec.errors import InvalidArgumentError, RequestError, TooLargeError
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, ReasoningQuery

LIMITS = LimitsConfig(texts=2, text_chars=10)


def test_limits_are_inclusive() -> None:
    ask = ENTAILMENT_CALL.ask(EntailmentFields(hypotheses=["h" * 10, "h"]), LIMITS)
    assert ask.queries == (EntailmentQuery("h" * 10), EntailmentQuery("h"))
    assert (ask.model, ask.listed) == (None, True)


def test_one_text_is_no_list() -> None:
    ask = REASONING_CALL.ask(ReasoningFields(statement="s", model="m"), LIMITS)
    assert (ask.queries, ask.model, ask.listed) == ((ReasoningQuery("s"),), "m", False)


def test_every_query_has_the_other_fields() -> None:
    ask = GROUNDING_CALL.ask(GroundingFields(phrases=["a", "b"], top_k=3), LIMITS)
    assert ask.queries == (GroundingQuery("a", 3), GroundingQuery("b", 3))


@pytest.mark.parametrize(
    ("shape", "fields", "message"),
    [
        (ENTAILMENT_CALL, EntailmentFields(hypothesis="h" * 11), "hypothesis: 11 characters, at most 10"),
        (ENTAILMENT_CALL, EntailmentFields(hypotheses=["h"] * 3), "hypotheses: got 3, at most 2"),
        (REASONING_CALL, ReasoningFields(statements=["s", "s" * 11]), "statements: 11 characters"),
        (GROUNDING_CALL, GroundingFields(phrase="p", model="m" * 301), "model: 301 characters"),
    ],
)
def test_over_a_limit(shape: CallShape[Any], fields: Any, message: str) -> None:
    with pytest.raises(TooLargeError, match=message):
        shape.ask(fields, LIMITS)


@pytest.mark.parametrize(
    ("shape", "fields", "field"),
    [
        (ENTAILMENT_CALL, EntailmentFields(), "hypothesis"),
        (ENTAILMENT_CALL, EntailmentFields(hypotheses=[]), "hypotheses"),
        (ENTAILMENT_CALL, EntailmentFields(hypotheses=[" "]), "hypotheses[0]"),
        (ENTAILMENT_CALL, EntailmentFields(hypothesis="a", hypotheses=["b"]), "hypotheses"),
        (REASONING_CALL, ReasoningFields(statement="\t"), "statement"),
        (REASONING_CALL, ReasoningFields(statement="a", model=" "), "model"),
        (GROUNDING_CALL, GroundingFields(phrases=["a"], top_k=0), "top_k"),
        (GROUNDING_CALL, GroundingFields(phrase="\ud800"), "phrase"),
    ],
)
def test_faults_name_their_field(shape: CallShape[Any], fields: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        shape.ask(fields, LIMITS)
    assert caught.value.field == field
    assert field in caught.value.message.partition(": ")[0]


names = st.sampled_from(["hypothesis", "hypotheses", "phrase", "phrases", "top_k", "model", "regions", "x"])


@pytest.mark.parametrize("shape", [ENTAILMENT_CALL, REASONING_CALL, GROUNDING_CALL])
@given(pairs=st.lists(st.tuples(names, st.text(max_size=12)), max_size=6))
def test_whatever_a_form_holds_it_is_read_or_refused_in_words(
    shape: CallShape[Any], pairs: list[tuple[str, str]]
) -> None:
    with suppress(RequestError):  # and nothing else
        assert shape.ask(fields_from_pairs(shape.fields, pairs), LIMITS).queries
