"""Captions are split as Stanford CoreNLP 3.4.1's PTBTokenizer splits them for the COCO caption tools."""

from __future__ import annotations

import pytest
from vlp_models.evaluation.caption_tokens import caption_tokens

# What `java -cp stanford-corenlp-3.4.1.jar edu.stanford.nlp.process.PTBTokenizer -preserveLines -lowerCase` printed for
# each, less the punctuation that pycocoevalcap 1.2 (tokenizer/ptbtokenizer.py) takes out.
SPLIT = {
    "A man's cat isn't grey; it's \"colour\" (red), and can't...": (
        "a man 's cat is n't grey it 's colour -lrb- red -rrb- and ca n't"
    ),
    "eight things: two purple lamps, one yellow lamp, three purple cheeses and two red cheeses": (
        "eight things two purple lamps one yellow lamp three purple cheeses and two red cheeses"
    ),
    "A large orange sheep at the bottom right, a small red cat at the top left.": (
        "a large orange sheep at the bottom right a small red cat at the top left"
    ),
    "An 18-wheeler and a half-eaten T-shirt on 5th Ave. at 5:30 p.m., near St. Louis.": (
        "an 18-wheeler and a half-eaten t-shirt on 5th ave. at 5:30 p.m. near st. louis"
    ),
    "he sat. on a mat": "he sat on a mat",
    "Mr. Smith, Jr., is no. 5 of 1,000 -- not no. Two": "mr. smith jr. is no. 5 of 1,000 not no two",
    "I cannot, we're gonna; don’t they've 'em 'til 5 o'clock": (
        "i can not we 're gon na do n't they 've 'em 'til 5 o'clock"
    ),
    "rock 'n' roll, rock'n'roll, O'Neill's y'all and ma'am": "rock 'n' roll rock 'n' roll o'neill 's y' all and ma'am",
    "the '90s, 1990's and the 80's cars": "the '90s 1990 's and the 80 's cars",
    "black/white and 1/2 of 3 1/2 cakes on 11/12/2013": "black/white and 1/2 of 3 1/2 cakes on 11/12/2013",
    "A B&W photo & an AT&T sign for $5.00 or £10 (50%)": (
        "a b&w photo & an at&t sign for $ 5.00 or # 10 -lrb- 50 % -rrb-"
    ),
    "“Stop” he said ‘now’ — twice… wow!! what?!": "stop he said now twice wow !! what ?!",
    "\"stop\" 'go' ``wait'' two-story mid-1990s": "stop go wait two-story mid-1990s",
    "a U.S. flag in Mass. and an ill. dog": "a u.s. flag in mass. and an ill dog",
    "Plan A. The plan b. is it": "plan a the plan b. is it",
    "a <unk> of :) [unk] {x} #1 #tag @home *": "a <unk> of :-rrb- -lsb- unk -rsb- -lcb- x -rcb- # 1 #tag @home *",
    "café-bar half ½ niño's 日本": "café-bar half 1/2 niño 's 日本",
    "a 🐈 and a🐈 cat": "a and a cat",
    "6 ft. tall 6ft. wide end.Next": "6 ft. tall 6ft wide end.next",
    "!!! . . .": "!!!",
    "lots   of\tspace - here": "lots of space here",
}


@pytest.mark.parametrize("caption", SPLIT)
def test_captions_are_split_as_the_tools_do(caption: str) -> None:
    assert " ".join(caption_tokens(caption)) == SPLIT[caption]


@pytest.mark.parametrize("caption", ["", "  \n", ". , -- ' ``", "🐈"])
def test_a_caption_without_a_word_has_no_token(caption: str) -> None:
    assert caption_tokens(caption) == ()


def test_a_line_break_is_a_space() -> None:
    assert caption_tokens("two red\ncats") == ("two", "red", "cats")


def test_case_makes_no_other_words() -> None:
    for caption in SPLIT:
        if "B&W" not in caption and "Mass." not in caption and "A." not in caption:
            assert caption_tokens(caption.lower()) == caption_tokens(caption)
