"""Fetches a picture that a caller names by URL, without letting the caller reach what only this machine can.

Every hop's host is resolved here, every address is checked, and the connection goes to the checked address: a name that
resolves to something else a moment later (DNS rebinding) is never asked again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable

import httpx
from vlp_spec.errors import InvalidArgumentError, TooLargeError

from vlp_server.config.settings import UrlFetchConfig
from vlp_server.intake.memory import TakeBytes
from vlp_server.intake.resolve import HostResolver

Resolver = Callable[[str, int], Awaitable[list[str]]]
AddressCheck = Callable[[str], bool]
_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The one block of IPv6 that unicast addresses are given out from; what is not in it is local, special or unknown.
_UNICAST = ipaddress.IPv6Network("2000::/3")
# For examples in texts (RFC 9637), and the relays of 6to4 (RFC 7526): both newer than Python's own lists.
_NOT_PUBLIC = (ipaddress.IPv6Network("3fff::/20"), ipaddress.IPv4Network("192.88.99.0/24"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


def is_public_address(text: str) -> bool:
    """Whether an address belongs to the public internet; one that carries an IPv4 address is judged by that too."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64_LOCAL or address.teredo is not None:
            return False
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public_address(str(embedded))
        if address not in _UNICAST:
            return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class UrlFetcher:
    """Fetches pictures within the limits of a configuration.

    Args:
        config: limits; whether fetching is allowed at all is for the caller to respect.
        resolve: host and port -> addresses; None asks the machine's resolver.
        is_allowed: which addresses may be connected to.
        tls: whose certificates are believed; None takes the machine's authorities.
    """

    def __init__(
        self,
        config: UrlFetchConfig,
        resolve: Resolver | None = None,
        is_allowed: AddressCheck = is_public_address,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._resolve = HostResolver() if resolve is None else resolve
        self._is_allowed = is_allowed
        self._tls = tls

    async def fetch(self, url: str, take: TakeBytes) -> bytes:
        """The bytes behind a URL.

        Args:
            url: http or https.
            take: counts the bytes that arrive.

        Raises:
            InvalidArgumentError: a URL that is not allowed, or that gives no picture in time.
            TooLargeError: more bytes than the limit.
            OverloadedError: other requests hold the memory that they need.
        """
        try:
            async with asyncio.timeout(self._config.timeout_s):
                return await self._follow(url, take)
        except TimeoutError:
            raise _refused(f"the URL did not answer within {self._config.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _refused(f"the URL could not be fetched ({type(error).__name__})") from error

    async def _follow(self, url: str, take: TakeBytes) -> bytes:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        # trust_env=False: a proxy of the environment would resolve the name again, and .netrc is none of its business.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=self._config.timeout_s) as client:
            for _ in range(self._config.max_redirects + 1):
                target = self._checked_url(url)
                address = await self._checked_address(target)
                content, url = await self._get(client, target, address, take)
                if content is not None:
                    return content
        raise _refused(f"more than {self._config.max_redirects} redirects")

    def _checked_url(self, url: str) -> httpx.URL:
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise _refused("not a URL") from None
        if target.scheme not in _DEFAULT_PORTS or not target.host:
            raise _refused("only http and https URLs with a host are fetched")
        if target.userinfo:
            raise _refused("a URL with a user or password is not fetched")
        port = target.port or _DEFAULT_PORTS[target.scheme]
        if port not in self._config.ports:
            raise _refused(f"port {port} is not fetched from")
        return target

    async def _checked_address(self, target: httpx.URL) -> str:
        # The form that goes on the wire, as in Host and in the certificate: another spelling could be another machine.
        host = target.raw_host.decode("ascii")
        try:
            addresses = await self._resolve(host, target.port or _DEFAULT_PORTS[target.scheme])
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise _refused(f"host {target.host!r:.100} has no address")
        if not all(self._is_allowed(address) for address in addresses):
            raise _refused(f"host {target.host!r:.100} has an address that is not public")
        return addresses[0]

    async def _get(
        self, client: httpx.AsyncClient, target: httpx.URL, address: str, take: TakeBytes
    ) -> tuple[bytes | None, str]:
        """The content, or None and the URL to go on with."""
        headers = {
            "Host": target.netloc.decode("ascii"),
            "Accept": "image/*",
            # A compressed body would be measured before it is unpacked.
            "Accept-Encoding": "identity",
            "User-Agent": "vlpserve",
        }
        # The certificate is checked against the name, though the connection goes to the address.
        extensions = {"sni_hostname": target.raw_host.decode("ascii")}
        request = client.build_request("GET", target.copy_with(host=address), headers=headers, extensions=extensions)
        response = await client.send(request, stream=True)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return None, str(target.join(response.headers["location"]))
            if response.status_code != 200:
                raise _refused(f"the URL answered with status {response.status_code}")
            return await self._read(response, take), ""
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response, take: TakeBytes) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > self._config.max_bytes:
                raise TooLargeError(f"image: behind the URL are more than {self._config.max_bytes} bytes")
            take(len(chunk))
        return bytes(content)


def _refused(reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"image: {reason}", field="image")
