from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.config import LimitsConfig
from vlp_server.http.caption_fields import CaptionAsk, CaptionFields, ask_of
from vlp_server.http.fields import check_fields, fields_from_pairs
from vlp_spec.errors import InvalidArgumentError, RequestError, TooLargeError
from vlp_spec.tasks import MAX_BEAMS, MAX_CAPTIONS, MAX_TOKENS, CaptionQuery, Decoding

LIMITS = LimitsConfig(text_chars=10)


def test_nothing_asks_for_the_model_s_own_defaults() -> None:
    assert ask_of(CaptionFields(), LIMITS) == CaptionAsk(CaptionQuery(), None, False)
    assert ask_of(CaptionFields(prompt=""), LIMITS).query == CaptionQuery()


def test_limits_are_inclusive() -> None:
    numbers = {"max_tokens": MAX_TOKENS, "min_tokens": MAX_TOKENS, "num_beams": MAX_BEAMS, "num_captions": MAX_CAPTIONS}
    ask = ask_of(check_fields(CaptionFields, {"prompt": "p" * 10, "stream": True, **numbers}), LIMITS)
    decoding = Decoding(max_tokens=MAX_TOKENS, min_tokens=MAX_TOKENS, num_beams=MAX_BEAMS)
    assert ask == CaptionAsk(CaptionQuery("p" * 10, MAX_CAPTIONS, decoding), None, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (CaptionFields(prompt="p" * 11), "prompt: 11 characters, at most 10"),
        (CaptionFields(model="m" * 301), "model: 301 characters"),
    ],
)
def test_over_a_limit(fields: CaptionFields, message: str) -> None:
    with pytest.raises(TooLargeError, match=message):
        ask_of(fields, LIMITS)


def test_half_of_a_surrogate_pair_is_no_prompt() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ask_of(CaptionFields.model_construct(prompt="\ud800"), LIMITS)
    assert caught.value.field == "prompt"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("1", 1.0), (".5", 0.5), ("1.", 1.0), ("+0.25", 0.25), ("5e-1", 0.5), ("1E-3", 0.001)],
)
def test_a_form_spells_a_number(text: str, value: float) -> None:
    assert fields_from_pairs(CaptionFields, [("temperature", text)]).temperature == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "Infinity", "1_0", "0x1", " 1", "1e", "e1", ".", "\u0661"])
def test_a_form_does_not_spell_a_number(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="temperature: input should be a valid number") as caught:
        fields_from_pairs(CaptionFields, [("temperature", text)])
    assert caught.value.field == "temperature"


def test_a_form_spells_the_largest_seed() -> None:
    assert fields_from_pairs(CaptionFields, [("seed", str(2**63 - 1))]).seed == 2**63 - 1


names = st.sampled_from(
    [*CaptionFields.model_fields, "image", "x"],
)
texts = st.one_of(st.text(max_size=12), st.integers().map(str), st.floats().map(str), st.sampled_from(["true", "[1]"]))


@given(st.lists(st.tuples(names, texts), max_size=6))
def test_whatever_a_form_holds_it_is_read_or_refused_in_words(pairs: list[tuple[str, str]]) -> None:
    with suppress(RequestError):  # and nothing else
        check(ask_of(fields_from_pairs(CaptionFields, pairs), LIMITS))


values: Any = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**400))


@given(st.dictionaries(names, values, max_size=6))
def test_whatever_json_holds_it_is_read_or_refused_in_words(fields: dict[str, Any]) -> None:
    with suppress(RequestError):
        check(ask_of(check_fields(CaptionFields, fields), LIMITS))


def check(ask: CaptionAsk) -> None:
    decoding = ask.query.decoding
    assert 0 <= decoding.temperature <= 5
    assert 0 < decoding.top_p <= 1
    assert 1 <= ask.query.num_captions <= MAX_CAPTIONS
    assert decoding.max_tokens is None or 1 <= decoding.max_tokens <= MAX_TOKENS
