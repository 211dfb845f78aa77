from __future__ import annotations

import math

import pytest
from vlp_models.evaluation.bleu import corpus_bleu
from vlp_models.evaluation.caption_tokens import caption_tokens

# The examples of Papineni et al. (2002), section 2.
GUIDE = (
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
)
CANDIDATES = (
    "It is a guide to action which ensures that the military always obeys the commands of the party",
    "It is to insure the troops forever hearing the activity guidebook that party direct",
)
CAT = ("the cat is on the mat", "there is a cat on the mat")

REFERENCES = (
    ("Two dogs run over the wet sand.", "A pair of dogs is racing along a beach", "Dogs at the sea"),
    ("A man's red kite flies above the beach.", "The red kite, high above the sand", "A kite in the sky"),
    ("A woman reads a book on a bench.", "A woman on a green bench is reading"),
    ("Three boats lie in the harbour, one of them is red", "Boats in a harbour"),
)
GENERATED = (
    "Two dogs run along a beach",
    "A red kite above the the beach.",
    "A woman on a green bench reads",
    "Red boats.",
)


def bleu(generated: str, *references: str) -> tuple[float, float, float, float]:
    return corpus_bleu([caption_tokens(generated)], [[caption_tokens(text) for text in references]])


def test_the_paper_s_precisions() -> None:
    """17/18 words and 10/17 pairs of the first candidate, 8/14 and 1/13 of the second; of seven "the" two count."""
    first, second = (bleu(candidate, *GUIDE) for candidate in CANDIDATES)
    assert first[:2] == pytest.approx((17 / 18, math.sqrt(17 / 18 * 10 / 17)))
    short = math.exp(1 - 16 / 14)  # the closest reference has 16 words
    assert second[:2] == pytest.approx((short * 8 / 14, short * math.sqrt(8 / 14 * 1 / 13)))
    assert bleu("the the the the the the the", *CAT)[0] == pytest.approx(2 / 7)
    assert bleu("of the", *GUIDE)[0] == pytest.approx(math.exp(1 - 16 / 2))


def test_figures_of_the_coco_tools() -> None:
    """pycocoevalcap 1.2 with its tokenizer printed these for the same texts."""
    words = [caption_tokens(text) for text in GENERATED]
    references = [[caption_tokens(text) for text in own] for own in REFERENCES]
    expected = (0.8337529179993849, 0.6807564068815743, 0.549137815958253, 0.44050667958121276)
    assert corpus_bleu(words, references) == pytest.approx(expected, rel=1e-12)


def test_without_a_run_of_four_the_figure_is_that_of_the_tools_and_not_zero() -> None:
    """Printed by the same for one picture; where there is no run at all, its smallest numbers decide."""
    found = bleu("Red boats.", *REFERENCES[3])
    expected = (0.36787944080356333, 1.1633369369975097e-08, 3.6787944080356355e-08, 6.541924350393833e-08)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_set_is_counted_as_a_whole() -> None:
    """Lengths and matches are summed before they are divided: one short caption beside a long one costs nothing."""
    short, long = ["a", "b"], ["a", "b", "c", "d", "e", "f"]
    found = corpus_bleu([short, long], [[short + ["c"]], [long[:5]]])
    assert found[0] == pytest.approx((2 + 5) / 8)
    alone = corpus_bleu([short], [[short + ["c"]]])
    assert alone[0] == pytest.approx(math.exp(1 - 3 / 2))


def test_of_two_equally_close_lengths_the_shorter_counts() -> None:
    assert corpus_bleu([["a"] * 3], [[["a"] * 4, ["a"] * 2]])[0] == pytest.approx(1.0)


def test_a_reference_itself_scores_one_and_an_empty_caption_nothing() -> None:
    references = [[text.split() for text in GUIDE]] * 3
    assert corpus_bleu([text.split() for text in GUIDE], references) == pytest.approx((1, 1, 1, 1))
    assert max(corpus_bleu([[]], [[text.split() for text in GUIDE]])) == pytest.approx(0, abs=1e-12)


def test_pictures_and_captions_must_match() -> None:
    with pytest.raises(ValueError, match="got 0 captions for 0 pictures"):
        corpus_bleu([], [])
    with pytest.raises(ValueError, match="got 1 captions for 2 pictures"):
        corpus_bleu([["a"]], [[["a"]], [["b"]]])
    with pytest.raises(ValueError, match="picture 1: no reference"):
        corpus_bleu([["a"], ["b"]], [[["a"]], []])
