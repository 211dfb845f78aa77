from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer
from vlp_models.data.grounding import (
    NOWHERE,
    ComparingWords,
    DescribedRegion,
    GroundingStore,
    PhraseFinder,
    described_regions,
)
from vlp_models.data.records import Region
from vlp_models.data.tokenizer_building import build_tokenizer

TEXTS = ("how many red boats are there?", "is the small cat at the top left a traffic light?", "two butterflies, a dog")
OTHERS = ("a red boat", "what is at the center?")
WORDS = frozenset({"red", "boat", "small", "cat", "top left", "center", "traffic light", "butterfly", "dog"})
REGIONS = (
    Region((0.0, 0.0, 0.2, 0.2), ("Red", "boat")),
    Region((0.6, 0.6, 0.8, 0.8), ("red", "cat")),
    Region((0.4, 0.4, 0.6, 0.6), ("blue", "boat")),
)
SIDES = (51, 52, 53, 54)
VOCABULARY = ComparingWords((60, 61, 62), SIDES)
GRID = np.array([2, 5], dtype=np.int32)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer((*TEXTS, *OTHERS), vocab_size=300)


def find(tokenizer: Tokenizer, text: str, max_length: int = 40) -> list[tuple[set[str], tuple[int, ...]]]:
    found = PhraseFinder(tokenizer, WORDS, max_length)(text)
    return [(set(meanings), positions) for meanings, positions in found]


def test_neighbouring_words_are_one_phrase_and_cls_is_token_0(tokenizer: Tokenizer) -> None:
    assert find(tokenizer, TEXTS[0]) == [({"red", "boat"}, (3, 4))]
    assert find(tokenizer, "Red boats? red cat") == [({"red", "boat"}, (1, 2)), ({"red", "cat"}, (4, 5))]


def test_names_of_several_words_and_plurals(tokenizer: Tokenizer) -> None:
    assert find(tokenizer, TEXTS[1]) == [
        ({"small", "cat"}, (3, 4)),
        ({"top left"}, (7, 8)),
        ({"traffic light"}, (10, 11)),
    ]
    assert find(tokenizer, TEXTS[2]) == [({"butterfly"}, (2,)), ({"dog"}, (5,))]
    assert find(tokenizer, "to the left of everything") == []


def test_a_word_of_several_pieces_is_all_of_them_and_what_is_cut_off_is_left_out(tokenizer: Tokenizer) -> None:
    small = build_tokenizer(("a",), vocab_size=300)
    assert find(small, "a cat") == [({"cat"}, (2, 3, 4))]
    assert find(tokenizer, TEXTS[0], max_length=5) == [({"red"}, (3,))]


def lengths(word: str) -> tuple[int, ...]:
    """In place of token ids."""
    return (len(word),)


def test_what_is_said_of_a_region() -> None:
    plain = described_regions(REGIONS, GRID, lengths, places=False)
    said = {"red": (3,), "boat": (4,)}
    assert plain[0] == DescribedRegion(frozenset(said), 0, pytest.approx((0.1, 0.1)), said)
    placed = described_regions(REGIONS, GRID, lengths, places=True)
    assert [one.words - plain[index].words for index, one in enumerate(placed)] == [
        {"top left"},
        {"bottom right"},
        {"center"},
    ]
    assert [one.slot for one in placed] == [0, 8, 7]


def store(tokenizer: Tokenizer, *texts: str) -> GroundingStore:
    regions = [described_regions(REGIONS, GRID, lengths, places=True)]
    finder = PhraseFinder(tokenizer, WORDS, 40)
    return GroundingStore.of(texts, np.zeros(len(texts), int), regions, finder, VOCABULARY)


def test_words_point_at_all_patches_that_they_name_or_nowhere(tokenizer: Tokenizer) -> None:
    texts = ("how many boats?", "a red boat", "is there a small dog?", "what is at the center?", "how many?")
    made = store(tokenizer, *texts)
    assert [text.positions.tolist() for text in made.texts] == [[3], [2, 3], [4, 5], [5], []]
    slots = [[own.tolist() for own in text.slots] for text in made.texts]
    assert slots == [[[1, 8]], [[1], [1]], [[NOWHERE], [NOWHERE]], [[8]], []]
    batch = made.gather(np.array([2, 4, 0, 1]), num_slots=12)
    assert batch["ground_rows"].tolist() == [0, 0, 2, 3, 3]
    assert batch["ground_positions"].tolist() == [4, 5, 3, 2, 3]
    assert batch["ground_shares"].shape == (5, 13)
    np.testing.assert_allclose(batch["ground_shares"].sum(axis=1), 1.0)
    assert batch["ground_shares"][2, [1, 8]].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(batch["ground_centres"][3:], [[0.1, 0.1]] * 2, atol=1e-6)
    assert np.isnan(batch["ground_centres"][:3]).all()


def test_words_say_what_else_their_one_region_is(tokenizer: Tokenizer) -> None:
    made = store(tokenizer, "how many boats?", "a red boat", "what is at the center?", "is there a dog?")
    # Of the red boat all is said but its place; at the center is the "blue" "boat"; of two or none nothing is said.
    assert [text.unsaid.tolist() for text in made.texts] == [[], [], [[0, 4], [0, 4]], []]
    assert made.gather(np.array([1, 0, 2]), 12)["ground_unsaid"].tolist() == [[3, 4], [3, 4]]


def test_words_tell_how_many_they_name(tokenizer: Tokenizer) -> None:
    made = store(tokenizer, "how many boats?", "a red boat", "is there a small dog?")
    zero, one, two = VOCABULARY.numbers
    told = [text.told.tolist() for text in made.texts]
    assert told == [[[0, two]], [[0, one], [1, one]], [[0, zero], [1, zero]]]
    regions = [described_regions(REGIONS * 2, GRID, lengths, places=False)]
    many = GroundingStore.of(["boats"], np.zeros(1, int), regions, PhraseFinder(tokenizer, WORDS, 40), VOCABULARY)
    assert many.texts[0].told.shape == (0, 2)  # for four there is no word


def test_two_that_are_found_tell_on_which_side_the_first_lies(tokenizer: Tokenizer) -> None:
    made = store(tokenizer, "is the red boat at the cat?", "is the cat a red boat?", "a red boat", "a boat at the cat")
    left, right, above, below = SIDES
    sides = [[pair for pair in text.told.tolist() if pair[1] in SIDES] for text in made.texts]
    assert made.texts[0].positions.tolist() == [3, 4, 7]
    assert sides[0] == [[word, side] for word in range(3) for side in (left, above)]
    assert sides[1] == [[word, side] for word in range(3) for side in (right, below)]
    assert sides[2:] == [[], []]
    assert [2, right] in made.gather(np.array([2, 1]), 12)["ground_told"].tolist()


def test_what_lies_nearly_level_is_on_no_side_and_words_that_lack_are_not_said(tokenizer: Tokenizer) -> None:
    level = (Region((0.0, 0.1, 0.2, 0.3), ("cat",)), Region((0.5, 0.15, 0.7, 0.35), ("dog",)))
    regions = [described_regions(level, GRID, lengths, places=False)]
    finder = PhraseFinder(tokenizer, WORDS, 40)

    def told(words: ComparingWords) -> set[int]:
        made = GroundingStore.of(["a cat, a dog"], np.zeros(1, int), regions, finder, words)
        return set(made.texts[0].told[:, 1].tolist())

    assert told(ComparingWords((), SIDES)) == {SIDES[0]}
    assert told(ComparingWords((60, None), (None, *SIDES[1:]))) == set()
    assert told(ComparingWords()) == set()


def test_words_for_comparing_are_those_of_the_tokenizer(tokenizer: Tokenizer) -> None:
    found = ComparingWords.of(tokenizer)
    assert [tokenizer.id_to_token(number) for number in found.numbers if number is not None] == list("0123456789")
    assert found.sides == (tokenizer.token_to_id("left"), None, None, None)


def test_a_batch_without_any_name(tokenizer: Tokenizer) -> None:
    batch = store(tokenizer, "how many?").gather(np.array([0, 0]), num_slots=4)
    assert {name: array.shape for name, array in batch.items()} == {
        "ground_rows": (0,),
        "ground_positions": (0,),
        "ground_shares": (0, 5),
        "ground_centres": (0, 2),
        "ground_told": (0, 2),
        "ground_unsaid": (0, 2),
    }


def test_what_the_losses_are_means_over_is_counted(tokenizer: Tokenizer) -> None:
    made = store(tokenizer, "how many boats?", "a red boat", "what is at the center?", "how many?")
    assert made.count(np.array([0])) == {"centres": 0, "unsaid": 0, "told": 1}
    assert made.count(np.array([1, 2, 3, 1])) == {"centres": 10, "unsaid": 2, "told": 5}
