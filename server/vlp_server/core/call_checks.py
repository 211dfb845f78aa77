"""How much one call may hold: refusals that every door words alike. The numbers are vlp_server.config's."""

from __future__ import annotations

from collections.abc import Sequence

from vlp_spec.errors import InvalidArgumentError, TooLargeError


def check_count(name: str, count: int, limit: int) -> None:
    """Refuse a list with TooLargeError when it is over its limit."""
    if count > limit:
        raise TooLargeError(f"{name}: got {count}, at most {limit} in one call; send several calls")


def check_text(name: str, text: str, limit: int) -> None:
    """Refuse a text that is too long or that is none.

    Raises:
        TooLargeError: longer than the limit in characters.
        InvalidArgumentError: half of a surrogate pair in it.
    """
    if len(text) > limit:
        raise TooLargeError(f"{name}: {len(text)} characters, at most {limit} are read; shorten it")
    if any("\ud800" <= char <= "\udfff" for char in text):
        # JSON can spell half of a surrogate pair; nothing behind this could write it as UTF-8.
        raise InvalidArgumentError(f"{name}: half of a surrogate pair is not text", field=name)


def check_texts(name: str, texts: Sequence[str], count: int, chars: int) -> None:
    """`check_count` and `check_text` for a list."""
    check_count(name, len(texts), count)
    for text in texts:
        check_text(name, text, chars)
