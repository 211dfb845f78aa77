"""What came from elsewhere, as it may be shown."""

from __future__ import annotations

import re

_PLACE = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")


def one_line(text: str, longest: int = 500) -> str:
    """A text without line breaks and without what would steer a terminal, cut to so many characters."""
    cut = text if len(text) <= longest else text[:longest] + "…"
    return "".join(char if char.isprintable() else " " for char in cut)


def shown_url(url: str) -> str:
    """A URL without its user, password, query and fragment: these may be secrets, and what is shown ends in logs."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    found = _PLACE.fullmatch(place.rpartition("@")[2])
    if found is None:
        # What follows a colon and is no port may be the beginning of a password that has a slash or a question mark.
        return one_line(f"{scheme}{mark}{place.partition(':')[0]}")
    return one_line(f"{scheme}{mark}{found[0]}{slash}{path}")
