"""Where a server is: which transport reaches it, and how it is trusted."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

_KEY = re.compile(r"[!-~]+")
_ADDRESS = re.compile(r"(?P<scheme>[a-z]+)://(?P<target>[^/?#@\s]+)(?P<path>/.*)?", re.IGNORECASE)
_SCHEMES = ("http", "https", "grpc", "grpcs")


@dataclass(frozen=True, slots=True)
class Tls:
    """What proves a server to its client, and the client to it; for https:// and grpcs://.

    Attributes:
        ca_file: PEM of the authorities that are trusted; None for those of the system.
        cert_file: PEM of the client's own certificate, where the server asks for one.
        key_file: PEM of its key.
    """

    ca_file: str | Path | None = None
    cert_file: str | Path | None = None
    key_file: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file, key_file: give both, or none")


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address.

    Attributes:
        url: as it was given.
        scheme: http, https, grpc or grpcs.
        target: host and port.
    """

    url: str
    scheme: str
    target: str

    @property
    def is_grpc(self) -> bool:
        """Whether it is spoken to by gRPC."""
        return self.scheme.startswith("grpc")


def read_address(url: str) -> Address:
    """Read http(s)://host:port or grpc(s)://host:port.

    Raises:
        ValueError: it is none.
    """
    found = _ADDRESS.fullmatch(url)
    if found is None or found["scheme"].lower() not in _SCHEMES:
        raise ValueError(f"{url!r}: expected {', '.join(f'{scheme}://' for scheme in _SCHEMES)}, then host:port")
    address = Address(url, found["scheme"].lower(), found["target"])
    if address.is_grpc and (found["path"] or "/") != "/":
        raise ValueError(f"{url!r}: an address of gRPC has no path")
    return address


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, which no proxy can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def key_header(api_key: str | None) -> dict[str, str]:
    """The header that shows an API key.

    Raises:
        ValueError: the key cannot be one.
    """
    if api_key is None:
        return {}
    if not _KEY.fullmatch(api_key):
        # Not with the key: what is said here may end in a log.
        raise ValueError("the API key: expected visible ASCII characters without spaces")
    return {"authorization": f"Bearer {api_key}"}
