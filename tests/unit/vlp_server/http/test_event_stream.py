from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.http.event_stream import event


def test_an_event_is_its_name_and_its_document() -> None:
    assert event({"text": "a"}) == b'data: {"text": "a"}\n\n'
    assert event({"text": "a"}, "done") == b'event: done\ndata: {"text": "a"}\n\n'


@given(st.text())
def test_whatever_the_text_is_it_stays_on_its_line(text: str) -> None:
    sent = event({"text": text})
    assert sent.isascii()
    line, empty = sent.decode().splitlines()
    assert empty == ""
    assert json.loads(line.removeprefix("data: ")) == {"text": text}


def test_a_number_that_json_cannot_hold_is_no_event() -> None:
    with pytest.raises(ValueError, match="JSON"):
        event({"score": float("nan")})
