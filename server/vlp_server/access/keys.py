"""API keys: what one is, how it is written down, and which role covers which."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from vlp_spec.errors import ConfigError

from vlp_server.access.quota import EXPECTED, OwnQuota, parse_own_quota

KEY_PREFIX = "vlp_"
_KEY_BYTES = 32
# Shorter than a key and than a hash: neither can be taken for a name, and so be shown as one.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
_NAME_FORM = "1 to 40 letters, digits, dots, dashes or underscores"
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_FIELDS = 3


class Role(StrEnum):
    """What a key may do; each role covers those before it.

    read: ask the models, look at and search collections. write: change collections. admin: all of /v1/admin/.
    """

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key as the server knows it: not the key itself.

    Attributes:
        name: for people and for the access log.
        role: what it may do.
        digest: sha256 of the key, 32 bytes.
        quota: how much it may ask, where that is not what everybody may.
    """

    name: str
    role: Role
    digest: bytes = field(repr=False)
    quota: OwnQuota = OwnQuota()

    @property
    def line(self) -> str:
        """NAME:ROLE:SHA256, as in a keys file and in the setting access.keys, and after it the quota of its own."""
        return ":".join((self.name, self.role, self.digest.hex(), *self.quota.written))


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One written key that nobody has looked at yet.

    Attributes:
        where: for messages, such as "keys.txt, line 3".
        text: a key's line; maybe something else, maybe a secret, so it is never shown.
    """

    where: str
    text: str = field(repr=False)


def new_key(name: str, role: Role, quota: OwnQuota = OwnQuota()) -> tuple[str, AccessKey]:  # noqa: B008 - frozen
    """Make a key.

    Returns:
        the key itself, which is kept nowhere; and what the server is to know of it.

    Raises:
        ConfigError: the name is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError([f"the name of the key: expected {_NAME_FORM}"])
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, AccessKey(name, role, key_digest(key.encode("ascii")), quota)


def key_digest(key: bytes) -> bytes:
    """sha256 of a key, 32 bytes.

    A slow hash, as passwords need, would buy nothing: a password is guessed from a list, and 256 random bits are not,
    however fast a guess is tried. A fast one costs a request nothing, and callers cannot keep the server busy with it.
    """
    return hashlib.sha256(key).digest()


def parse_keys(entries: Iterable[KeyEntry]) -> tuple[AccessKey, ...]:
    """Read written keys.

    Raises:
        ConfigError: every entry that is no key, and every name or key that is there twice. No part of an entry at
            fault is shown: a key may have been put where its hash belongs.
    """
    keys: list[AccessKey] = []
    faults: list[str] = []
    names: dict[str, str] = {}
    digests: dict[bytes, str] = {}
    for entry in entries:
        fields = [part.strip() for part in entry.text.split(":")]
        if found := _entry_faults(fields):
            faults += [f"{entry.where}: {fault}" for fault in found]
            continue
        name, role, digest = fields[0], Role(fields[1]), bytes.fromhex(fields[2])
        if name in names:
            faults.append(f"{entry.where}: the name {name!r} is given already ({names[name]})")
        if digest in digests:
            faults.append(f"{entry.where}: the same key as another one's ({digests[digest]})")
        names.setdefault(name, entry.where)
        digests.setdefault(digest, entry.where)
        keys.append(AccessKey(name, role, digest, parse_own_quota(fields[_FIELDS:]) or OwnQuota()))
    if faults:
        raise ConfigError(faults)
    return tuple(keys)


def _entry_faults(fields: list[str]) -> list[str]:
    if len(fields) < _FIELDS:
        return ["expected NAME:ROLE:SHA256, as `vlpserve keys new` writes it"]
    faults = []
    if not _NAME.fullmatch(fields[0]):
        faults.append(f"the name: expected {_NAME_FORM}")
    if fields[1] not in list(Role):
        faults.append(f"unknown role; expected {', '.join(Role)}")
    if not _DIGEST.fullmatch(fields[2]):
        faults.append("after the role: expected the sha256 of a key, 64 hex digits")
    if parse_own_quota(fields[_FIELDS:]) is None:
        faults.append(f"expected NAME:ROLE:SHA256, and after it {EXPECTED}")
    return faults
