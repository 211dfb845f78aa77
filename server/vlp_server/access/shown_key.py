"""The key that a caller shows, however its door carries it: whether it is known, and suffices."""

from __future__ import annotations

from collections.abc import Set

from vlp_spec.errors import PermissionDeniedError, UnauthenticatedError

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.keys import AccessKey, Role

_SCHEME = "bearer"


def bearer_key(authorization: str) -> str | None:
    """The key in an authorization of the scheme Bearer; None where it is of another one, which is not ours."""
    scheme, _, key = authorization.strip().partition(" ")
    return key if scheme.lower() == _SCHEME else None


def key_of(ring: KeyRing, sent: Set[bytes], how: str) -> AccessKey:
    """The caller's key.

    Args:
        sent: all keys that were shown, the same one twice being one.
        how: one is sent, for who sent none.

    Raises:
        UnauthenticatedError: there is none, there are several, or it is not known.
    """
    if not sent:
        raise UnauthenticatedError(f"this needs an API key; {how}")
    if len(sent) > 1:
        raise UnauthenticatedError("several different API keys were sent; send one")
    key = ring.find(next(iter(sent)))
    if key is None:
        raise UnauthenticatedError("the API key that was sent is not known here")
    return key


def check_role(key: AccessKey, needed: Role, otherwise: str = "") -> None:
    """Refuse a key that does not suffice.

    Args:
        otherwise: what else may be the matter.

    Raises:
        PermissionDeniedError: its role does less.
    """
    if not key.role.covers(needed):
        raise PermissionDeniedError(f"role {key.role}: this needs a key of the role {needed}{otherwise}")
