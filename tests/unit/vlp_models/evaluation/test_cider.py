from __future__ import annotations

import math
import random

import pytest
from vlp_models.evaluation.caption_tokens import caption_tokens
from vlp_models.evaluation.cider import corpus_cider

CAT, DOG = ["a", "cat"], ["a", "dog"]
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


def of_first(generated: list[str], *references: list[str]) -> float:
    """The first picture's figure; the second one's caption has nothing in common with its own."""
    return 2 * corpus_cider([generated, ["none"]], [list(references), [DOG]])


def test_figures_worked_out_by_hand() -> None:
    """Of two pictures "a" is in both and weighs nothing, "cat" and "a cat" are in one; there is no longer run."""
    assert of_first(CAT, CAT) == pytest.approx(10 * (1 + 1) / 4)
    # Half of the references say it.
    assert of_first(CAT, CAT, ["a", "fish"]) == pytest.approx(10 * (1 + 1) / 4 / 2)
    # One run of two words fewer costs exp(-1 / 72), and "a cat" is not said.
    assert of_first(["cat"], CAT) == pytest.approx(10 / 4 * math.exp(-1 / 72))
    # The second "cat" lengthens the caption's vector, and is not counted again.
    assert of_first(["cat", "cat"], CAT) == pytest.approx(10 / 4 / 2)
    # A word that is nowhere in the references weighs as if one picture had it.
    assert of_first(["fish", "cat"], CAT) == pytest.approx(10 / 4 / math.sqrt(2))


def test_figures_of_the_coco_tools() -> None:
    """pycocoevalcap 1.2 with its tokenizer printed this for the same texts."""
    words = [caption_tokens(text) for text in GENERATED]
    references = [[caption_tokens(text) for text in own] for own in REFERENCES]
    assert corpus_cider(words, references) == pytest.approx(2.49827605691772, rel=1e-12)


def test_what_all_pictures_say_counts_nothing() -> None:
    assert corpus_cider([CAT], [[CAT]]) == 0
    assert corpus_cider([CAT, CAT, CAT], [[CAT], [CAT], [CAT]]) == 0


def test_only_words_of_its_own_picture_gain_ten() -> None:
    texts = [[f"{number}{letter}" for letter in "abcdef"] for number in range(4)]
    assert corpus_cider(texts, [[text] for text in texts]) == pytest.approx(10)
    assert corpus_cider(texts[1:] + texts[:1], [[text] for text in texts]) == 0
    assert corpus_cider([[]] * 4, [[text] for text in texts]) == 0


def test_the_order_of_pictures_and_of_references_does_not_matter() -> None:
    rng = random.Random(1)
    references = [[rng.choices("abcdefgh", k=rng.randint(2, 9)) for _ in range(3)] for _ in range(6)]
    words = [rng.choice(own) for own in references]
    figure = corpus_cider(words, references)
    assert corpus_cider(words[::-1], [own[::-1] for own in references[::-1]]) == pytest.approx(figure)
    # One word more than all references, and the caption is liked less.
    assert corpus_cider([own + ["z"] for own in words], references) < figure


def test_pictures_and_captions_must_match() -> None:
    with pytest.raises(ValueError, match="got 2 captions for 1 pictures"):
        corpus_cider([CAT, DOG], [[CAT]])
    with pytest.raises(ValueError, match="picture 0: no reference"):
        corpus_cider([CAT], [[]])
