from __future__ import annotations

import pytest
from vlp_server.access.prices import (
    PICTURE_COST,
    Query,
    embedding_weight,
    pictures_weight,
    queries_weight,
    search_weight,
    tensors_weight,
    text_cost,
)
from vlp_spec.tasks import (
    CaptionQuery,
    ClassifyQuery,
    Decoding,
    EntailmentQuery,
    GroundingQuery,
    MatchQuery,
    ReasoningQuery,
    VqaQuery,
)


def test_a_text_counts_as_a_token_for_every_four_characters() -> None:
    assert [text_cost(text) for text in ("", "a", "four", "five5", "x" * 400)] == [1.0, 1.0, 1.0, 2.0, 100.0]


@pytest.mark.parametrize(
    "query",
    [
        VqaQuery("who is she?!"),
        MatchQuery("who is she?!"),
        EntailmentQuery("who is she?!"),
        GroundingQuery("who is she?!"),
    ],
)
def test_a_picture_is_looked_at_for_every_text(query: Query) -> None:
    weight = queries_weight([query, query])
    assert weight.cost == 2 * (PICTURE_COST + 3)
    assert weight.words == ("who is she?!", "who is she?!")


def test_two_pictures_are_twice_as_many_patches() -> None:
    assert queries_weight([ReasoningQuery("left")], 2).cost == 2 * PICTURE_COST + 1


def test_a_closed_list_costs_its_texts() -> None:
    assert queries_weight([VqaQuery("what", candidates=("yes", "x" * 40))]).cost == PICTURE_COST + 1 + 1 + 10


@pytest.mark.parametrize(
    ("query", "tokens"),
    [
        (CaptionQuery(), 1 + 20),
        (CaptionQuery("a photo of", decoding=Decoding(max_tokens=100)), 3 + 100),
        (CaptionQuery(decoding=Decoding(max_tokens=100, num_beams=4)), 1 + 400),
        (CaptionQuery(num_captions=3), 1 + 60),
    ],
)
def test_a_caption_costs_the_tokens_that_it_may_have_on_each_beam(query: CaptionQuery, tokens: float) -> None:
    assert queries_weight([query]).cost == PICTURE_COST + tokens


def test_labels_cost_their_texts_in_every_template() -> None:
    one = queries_weight([ClassifyQuery(("cat", "dog"))])
    many = queries_weight([ClassifyQuery(("cat", "dog"), tuple(f"a photo {n} of {{}}" for n in range(10)))])
    assert one.words == ("cat", "dog")
    assert one.cost == PICTURE_COST + 3
    assert many.cost > PICTURE_COST + 10 * 3


def test_vectors_and_searches() -> None:
    assert embedding_weight(["four", "x" * 8], 2).cost == 3 + 2 * PICTURE_COST
    assert pictures_weight(3, 4).cost == 3 * PICTURE_COST + 4
    assert [tensors_weight(size).cost for size in (0, 3072 * 144)] == [1.0, PICTURE_COST]
    assert search_weight(None, 0).cost == 1.0
    assert search_weight(None, 1).cost == PICTURE_COST
    assert search_weight("four", 0).cost == 1.0
    assert search_weight("four", 0, 20).cost == 1.0 + 20 * (PICTURE_COST + 1)


@pytest.mark.parametrize("again", [-5, 10**12])
def test_numbers_that_no_server_takes_are_neither_a_gift_nor_a_debt_for_years(again: int) -> None:
    assert 1.0 <= search_weight("four", 0, again).cost <= 1000 * (PICTURE_COST + 1) + 1
