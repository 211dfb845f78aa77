"""Captions as words, as the COCO caption tools split them: Penn Treebank tokens in lower case, punctuation dropped.

The tools call PTBTokenizer of Stanford CoreNLP 3.4.1, which needs Java. This does the same for English captions: of all
forms that a token can have, the one that reaches furthest makes the next token. Left out are telephone numbers, web and
mail addresses, file names, and what the Java program reads from the next line when a caption ends in "A." or "no.".

Source: github.com/tylin/coco-caption, pycocoevalcap/tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vlp_models.evaluation.caption_abbreviations import (
    ABBREVIATIONS,
    CAPITAL_ABBREVIATIONS,
    NUMBER_ABBREVIATIONS,
    SENTENCE_BEGINNINGS,
)

# The tools' list also has brackets, as "-LRB-"; by then they are in lower case, so that in effect they stay. What is
# not on the list, such as "!!" or "&", stays too.
_DROPPED = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
_WRITTEN = {
    **{"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"},
    **dict.fromkeys(('"', "“", "”", "«", "»", "`'", "'`", "’’"), "''"),
    **dict.fromkeys(("‘", "’"), "'"),
    **dict.fromkeys(("–", "—", "---", "----"), "--"),
    **{f"’{ending}": f"'{ending}" for ending in ("s", "m", "d", "re", "ve", "ll")},
    **{"n’t": "n't", "…": "...", "£": "#", "€": "$", "¢": "cents"},
    **{"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
}


def _any_of(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, words))


_CAPITALISED = "|".join(rf"(?-i:{word[0]}){word[1:]}" for word in CAPITAL_ABBREVIATIONS)
_LETTER, _SIGN = r"[^\W\d_½¼¾⅓⅔]", r"[^\W_½¼¾⅓⅔]"  # a sign is a letter or a digit
_APOSTROPHE, _QUOTE = r"['’]", r"['’`‘]"
_WORD = rf"{_LETTER}{_SIGN}*(?:[.!?]{_LETTER}{_SIGN}*)*"
_CLITIC, _NOT = rf"{_APOSTROPHE}(?:re|ve|ll|[msd])", rf"n{_QUOTE}t"
_NUMBER = r"(?:\d+(?:[.:,]\d+)*|(?:[.:,]\d+)+)"
_INITIALS = r"[a-z](?:\.[a-z])"
_PART = rf"(?:[dol]{_QUOTE}{_SIGN})?{_SIGN}+"
_HYPHENATED = rf"{_SIGN}(?:{_SIGN}|[.,])*(?:-(?:{_INITIALS}+\.|{_SIGN}+))+"
_SLASHED = r"[a-z\d]+(?:-[a-z]+){0,2}"
_COUPLED = r"(?-i:[A-Z]+(?:[+&][A-Z]+)+)"

# A form's group is the token. What it matches behind the group counts for how far it reaches, and is read again.
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        # Two words written as one.
        r"(can)not|(gon|wan)na|(got)ta|(lem|gim)me",
        r"('t)(?:is|was)",
        rf"({_WORD}){_CLITIC}",
        rf"({_LETTER}*[a-mo-z]){_NOT}",
        rf"({_CLITIC}|{_NOT})(?!{_LETTER})",
        rf"(y{_APOSTROPHE}){_LETTER}",
        # Words, some with an apostrophe that divides nothing.
        rf"({_WORD})",
        rf"((?-i:[A-HJ-XZn]){_QUOTE}{_LETTER}{{2,}}|{_LETTER}+[aeiouy]{_QUOTE}(?-i:[aeiouA-Z]){_LETTER}*)",
        rf"({_APOSTROPHE}(?:n(?:{_APOSTROPHE}|(?!{_LETTER}|\.))|em|till?|cause|[2-9]0s)|(?:ol|[ldj]){_APOSTROPHE})",
        rf"({_APOSTROPHE}\d\d)\s",
        r"(c'mon|e'er|s'mores|ev'ry|li'l|nat'l|nor'easter|cap'n|c'est|anti-|pro-)",
        # Numbers, times, fractions, dates.
        rf"([-+]?{_NUMBER})",
        r"((?:\d{1,4}[- ])?\d{1,4}/\d{1,4}|\d{1,2}[-/]\d{1,2}[-/]\d{2,4})",
        # Words that keep a full stop.
        rf"([a-z])\.\s+(?-i:{_any_of(SENTENCE_BEGINNINGS)})[\s?!]",
        rf"((?:{_any_of(NUMBER_ABBREVIATIONS)})\.)\s?\d",
        rf"((?:{_any_of(ABBREVIATIONS)}|{_CAPITALISED}|{_INITIALS}*)\.)",
        rf"((?:{_WORD}|{_HYPHENATED})\.)[,;:]",
        # Words that are joined by a hyphen, a slash or another sign.
        rf"({_HYPHENATED})",
        rf"((?:{_PART}|{_NUMBER})(?:[-_]{_PART})*)",
        rf"({_SLASHED}(?:/{_SLASHED}){{1,2}})",
        rf"({_COUPLED}|(?-i:[A-Z]+)\$|c\+\+|[cf]#)",
        rf"(@[a-z_]\w*|#{_LETTER}+)",
        # Marks.
        r"(</?[a-z][^<>]*>)",
        rf"([:;=][-o*']?[()dp\[\]])(?!{_SIGN})",
        r"(''|``|`'|'`|’’|\.{3}|\.(?: \.){2,}|[?!]+|-+|=+|@+|_+|#+)",
        r"(\S)",
    )
)
# Signs beyond, such as emoji, are unknown to the Java program, and skipped.
_LAST_KNOWN = 0xFFFF
_SPACE = re.compile(r"\s*")


def caption_tokens(text: str) -> tuple[str, ...]:
    """The words of a caption, in lower case; none where it is empty or punctuation alone."""
    tokens: list[str] = []
    place = _end_of_space(text, 0)
    while place < len(text):
        token = _token_at(text, place)
        written = _as_written(token)
        if written not in _DROPPED:
            # "1 1/2" is one token there, which the scorers part again.
            tokens += written.split()
        place = _end_of_space(text, place + len(token))
    return tuple(tokens)


def _end_of_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _token_at(text: str, place: int) -> str:
    """The token of the form that reaches furthest; the first of equals."""
    token, end = text[place], place
    for form in _FORMS:
        found = form.match(text, place)
        if found is not None and found.end() > end and found.lastindex:
            token, end = found[found.lastindex], found.end()
    return token


def _as_written(token: str) -> str:
    if token[0] in ":;=":
        return token.lower().replace("(", "-lrb-").replace(")", "-rrb-")
    if token[0] == "." and len(token) > 1 and not token.strip(". "):
        return "..."
    if ord(token[0]) > _LAST_KNOWN:
        return ""
    return _WRITTEN.get(token.lower(), token.lower())
