"""What a server says of itself, asked before the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from vlp_loadtest.shown import shown_url
from vlp_loadtest.task_requests import Request as Asked
from vlp_loadtest.task_requests import fault_of

_TIMEOUT_S = 10.0
_MAX_FAULT_BYTES = 10_000


class Refused(Exception):
    """The server is there, and does not tell."""


class Unreachable(Exception):
    """There is no server, or none that speaks this API."""


class _NoRedirect(HTTPRedirectHandler):
    """The key is for the server that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: the answer is a fault like any other status."""


def server_base(host: str) -> str:
    """The address of a server without a slash at its end.

    Raises:
        ValueError: it is no such address, or it has a user, a query or a fragment; these are not in the message.
    """
    told = f"{shown_url(host)}: expected http:// or https://, host:port, and no user, query or fragment"
    try:
        parts = urlsplit(host)
        parts.port  # noqa: B018  # looks whether it is a number
    except ValueError:
        raise ValueError(told) from None
    spare = parts.username is not None or "?" in host or "#" in host or not host.isprintable() or " " in host
    if parts.scheme not in ("http", "https") or not parts.hostname or spare:
        raise ValueError(told)
    return host.rstrip("/")


def look_up(base: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """A document of the server itself, through no proxy, as the requests of the run.

    Args:
        base: of `server_base`.
        path: of the document.
        headers: among them the key.

    Raises:
        Refused: a status other than 200; the message has the kind.
        Unreachable: no answer, or one that is not this API's.
    """
    opener = build_opener(ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(Request(base + path, headers=dict(headers)), timeout=_TIMEOUT_S) as reply:
            document = json.load(reply)
    except HTTPError as error:
        with error:
            fault = fault_of(Asked("", path, b"", "", ""), error.code, error.read(_MAX_FAULT_BYTES))
        raise Refused(f"{base}{path}: {fault}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise Unreachable(f"{base}{path}: {reason}; is the server up?") from error
    if not isinstance(document, dict):
        raise Unreachable(f"{base}{path}: an answer that is not this API's")
    return document
