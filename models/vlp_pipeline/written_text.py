"""Word pieces that a model wrote, as a person writes them.

What stands there stays when more pieces follow: the text of some pieces is how the text of more of them begins, so that
it can be shown while it grows.
"""

from __future__ import annotations

from collections.abc import Iterable

_PIECE = "##"
# BERT splits punctuation off; of two spaces around an apostrophe neither was there, as a rule ("man ' s").
_NO_SPACE_BEFORE = frozenset(".,!?:;')")
_NO_SPACE_AFTER = frozenset("'(")


def join_pieces(tokens: Iterable[str]) -> str:
    """Put pieces together.

    Args:
        tokens: of a WordPiece vocabulary; special ones, in square brackets, say nothing.

    Returns:
        the text, without a space at either end.
    """
    parts: list[str] = []
    last = ""
    for token in tokens:
        if token.startswith("[") and token.endswith("]") and len(token) > 2:
            continue
        word = token.removeprefix(_PIECE)
        joined = word != token or token in _NO_SPACE_BEFORE or last in _NO_SPACE_AFTER
        parts.append(word if joined or not parts else f" {word}")
        last = token
    return "".join(parts)
