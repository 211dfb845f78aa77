"""Calls over HTTP, through a pool of connections."""

from __future__ import annotations

from typing import Any

import httpx

from vlp_client.address import Address, Tls, is_loopback, key_header
from vlp_client.aio.http_events import AsyncHttpEvents
from vlp_client.calls import Call
from vlp_client.errors import ProtocolError
from vlp_client.http_wire import (
    ROUTES,
    network_fault,
    reply_of,
    request_content,
    request_path,
    server_error,
    whole_response,
)
from vlp_client.replies import Reply
from vlp_client.server_events import EVENT_MEDIA_TYPE
from vlp_client.timeouts import Span
from vlp_client.trust import tls_context


class AsyncHttpTransport:
    """An `AsyncTransport` over HTTP.

    Args:
        address: of the server.
        api_key: sent with every request; None where the server asks for none.
        tls: for https.
        connections: at a time.
        transport: httpx transport in place of the network.

    Raises:
        ValueError: the key cannot be one.
        OSError: a file of `tls` cannot be read.
    """

    def __init__(
        self,
        address: Address,
        *,
        api_key: str | None,
        tls: Tls | None,
        connections: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        base = httpx.URL(address.url)
        self._http = httpx.AsyncClient(
            base_url=base,
            headers=key_header(api_key),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            verify=tls_context(tls),
            transport=transport,
            # A proxy of the environment cannot reach this machine's own server.
            trust_env=not is_loopback(base.host),
        )

    async def send(self, call: Call[Any], span: Span) -> Reply:
        """Send a call; see `AsyncTransport`."""
        return reply_of(call, await self._read(await self._open(call, span), span))

    async def stream(self, call: Call[Any], span: Span) -> AsyncHttpEvents:
        """Send a call whose answer comes in parts; see `AsyncTransport`."""
        response = await self._open(call, span)
        if response.status_code != 200:
            raise server_error(await self._read(response, span))
        if not response.headers.get("Content-Type", "").startswith(EVENT_MEDIA_TYPE):
            await response.aclose()
            raise ProtocolError(f"{response.url}: status {response.status_code} with a body that is no stream")
        return AsyncHttpEvents(response)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _open(self, call: Call[Any], span: Span) -> httpx.Response:
        span.check()
        request = self._http.build_request(ROUTES[call.verb][0], request_path(call), **request_content(call, span))
        try:
            return await self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise network_fault(self._http.base_url, error) from error

    async def _read(self, response: httpx.Response, span: Span) -> httpx.Response:
        """The same answer with its body, read with an eye on the time."""
        chunks = []
        try:
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                span.check()
        except httpx.TransportError as error:
            raise network_fault(self._http.base_url, error, answered=True) from error
        except httpx.DecodingError as error:
            raise ProtocolError(f"{response.url}: a body that is not in the encoding that it names") from error
        finally:
            await response.aclose()
        return whole_response(response, b"".join(chunks))
