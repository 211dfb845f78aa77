from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.http.stop_texts import StopTexts

SHORT = st.text("ab.", max_size=12)
STOPS = st.lists(st.text("ab.", min_size=1, max_size=4), max_size=4)


@given(SHORT, STOPS, st.lists(st.integers(0, 12), max_size=5), st.integers(0, 5))
def test_pieces_show_what_the_whole_does(text: str, stops: list[str], cuts: list[int], skip: int) -> None:
    own, grown = text[:skip], text[skip:]
    found = [(begin + len(stop), begin) for stop in stops if (begin := grown.find(stop)) >= 0]
    expected = own + grown[: min(found)[1] if found else len(grown)]
    places = [0, *sorted(cuts), len(text)]
    stopping = StopTexts(stops, skip)
    shown = ""
    for begin, end in zip(places, places[1:], strict=False):
        shown += stopping.add(text[begin:end])
        assert expected.startswith(shown)
    assert shown + stopping.rest() == expected == StopTexts(stops, skip).whole(text)
    assert stopping.stopped == bool(found)


@pytest.mark.parametrize(("piece", "shown"), [("red bo", "red "), ("red. b", "red. "), ("red. bow", "red. bow")])
def test_only_what_a_stop_may_begin_with_is_held_back(piece: str, shown: str) -> None:
    assert StopTexts(["boat", "end"]).add(piece) == shown
