from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders
from vlp_pipeline.written_text import join_pieces

PIECES = ("a", "cat", "##s", "##dish", ",", ".", ":", "'", "(", ")", "s", "t", "-", "[UNK]", "[", "##")


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], ""),
        (["red", "##dish", "cat", "##s"], "reddish cats"),
        (["two", "things", ":", "a", "cat", ",", "a", "dog", "."], "two things: a cat, a dog."),
        # What transformers' clean_up_tokenization makes of it too.
        (["a", "man", "'", "s", "hat"], "a man's hat"),
        (["what", "?", "no", "!"], "what? no!"),
        (["(", "left", ")"], "(left)"),
        (["##dish", "cat"], "dish cat"),
        (["[CLS]", "a", "[UNK]", "cat", "[SEP]"], "a cat"),
        (["[", "a", "]"], "[ a ]"),
    ],
)
def test_pieces_become_words_as_people_write_them(pieces: list[str], text: str) -> None:
    assert join_pieces(pieces) == text


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(0, 12))
def test_more_pieces_only_add_to_the_text(pieces: list[str], count: int) -> None:
    assert join_pieces(pieces).startswith(join_pieces(pieces[:count]))


@given(st.lists(st.sampled_from(["a", "cat", "red", "##s", ",", "."]), min_size=1, max_size=12))
def test_plain_texts_are_those_of_the_tokenizers_library(pieces: list[str]) -> None:
    pieces = ["the", *pieces]
    assert join_pieces(pieces) == decoders.WordPiece().decode(pieces)
