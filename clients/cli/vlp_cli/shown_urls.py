"""Messages without what URLs in them keep secret."""

from __future__ import annotations

import re

from vlp_loadtest.shown import shown_url

_URL = re.compile(r"\b(?:https?|grpcs?)://[^\s'\"<>]*", re.IGNORECASE)
_AFTER = ".,:;)"
"""What belongs to the sentence and not to the URL before it."""


def without_secrets(text: str) -> str:
    """A message whose URLs have lost user, password, query and fragment: messages end in logs."""
    return _URL.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    url = found[0].rstrip(_AFTER)
    return shown_url(url) + found[0][len(url) :]
