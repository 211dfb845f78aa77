"""Lets a call in by the API key in its metadata, before its message is read."""

from __future__ import annotations

from collections.abc import Iterable

from vlp_spec.errors import PermissionDeniedError, UnauthenticatedError

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.keys import AccessKey, Role

_AUTHORIZATION = "authorization"
_KEY = "x-api-key"
_SCHEME = "bearer"
_HOW = f"send it as metadata '{_AUTHORIZATION}: Bearer KEY' or '{_KEY}: KEY'"

Metadata = Iterable[tuple[str, str | bytes]]


def key_for(ring: KeyRing, metadata: Metadata) -> AccessKey:
    """The caller's key.

    Raises:
        UnauthenticatedError: there is none, or one that is not known.
    """
    sent = _sent_keys(metadata)
    if not sent:
        raise UnauthenticatedError(f"this needs an API key; {_HOW}")
    if len(sent) > 1:
        raise UnauthenticatedError("several different API keys were sent; send one")
    key = ring.find(sent.pop())
    if key is None:
        raise UnauthenticatedError("the API key that was sent is not known here")
    return key


def check_role(key: AccessKey, needed: Role) -> None:
    """Refuse a key that does not suffice.

    Raises:
        PermissionDeniedError: its role does less.
    """
    if not key.role.covers(needed):
        raise PermissionDeniedError(f"role {key.role}: this needs a key of the role {needed}")


def _sent_keys(metadata: Metadata) -> set[bytes]:
    """All keys that a call carries; the same one twice is one. An authorization that is no Bearer is not ours."""
    found = []
    for name, value in metadata:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if name == _KEY:
            found.append(text)
        elif name == _AUTHORIZATION:
            scheme, _, key = text.strip().partition(" ")
            if scheme.lower() == _SCHEME:
                found.append(key)
    return {text.strip().encode("utf-8", "replace") for text in found if text.strip()}
