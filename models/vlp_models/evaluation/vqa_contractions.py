"""Words that are given their apostrophe back before answers are compared, as the official VQA evaluation does.

Each spelling with exactly one apostrophe missing stands for the whole word: "dont" for "don't", "couldnt've" and
"couldn'tve" for "couldn't've". Words that would be others without it ("we'll", "he'll", "we're") are not in the list.
"""

from __future__ import annotations

_NEGATIONS = (
    "ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't oughtn't "
    "shan't shouldn't wasn't weren't won't wouldn't"
)
_HAVE = "could've might've must've not've should've they've we've what've where've who've would've you've"
_PRONOUNS = (
    "he'd he's it'd it'll somebody'll somebody's someone'd someone'll someone's something'd something'll that's "
    "there'd there're there's they'd they'll they're you'd you'll you're"
)
_QUESTIONS = "how'd how'll how's what'll what're what's when's where'd where's who'd who'll who's why'll why're why's"
_OTHERS = "ma'am o'clock 'twas y'all"
_TWO_APOSTROPHES = (
    "couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've "
    "there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've"
)
_THREE_APOSTROPHES = "'ow's'at y'all'd've"


def _spellings(word: str) -> list[str]:
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


CONTRACTIONS: dict[str, str] = {
    spelling: word
    for words in (_NEGATIONS, _HAVE, _PRONOUNS, _QUESTIONS, _OTHERS, _TWO_APOSTROPHES, _THREE_APOSTROPHES)
    for word in words.split()
    for spelling in _spellings(word)
}
# The one entry that goes the other way.
CONTRACTIONS["somebody'd"] = "somebodyd"
