# Made from vlp_client/aio/http_transport.py by clients/python/write_sync_client.py: change it there.
"""Calls over HTTP, through a pool of connections."""

from __future__ import annotations

from typing import Any

import httpx

from vlp_client.address import Address, Tls, is_loopback, key_header
from vlp_client.calls import Call
from vlp_client.errors import ProtocolError, VlpClientError
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
from vlp_client.sync.http_events import HttpEvents
from vlp_client.sync.time_limit import cut, within
from vlp_client.timeouts import Span
from vlp_client.trust import tls_context


class HttpTransport:
    """An `Transport` over HTTP.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base = httpx.URL(address.url)
        self._http = httpx.Client(
            base_url=base,
            headers=key_header(api_key),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            verify=tls_context(tls),
            transport=transport,
            # A proxy of the environment cannot reach this machine's own server.
            trust_env=not is_loopback(base.host),
        )

    def send(self, call: Call[Any], span: Span) -> Reply:
        """Send a call; see `Transport`."""
        exchange = Exchange(self._http, call, span)
        return reply_of(call, within(span, exchange.whole, exchange.leave))

    def stream(self, call: Call[Any], span: Span) -> HttpEvents:
        """Send a call whose answer comes in parts; see `Transport`."""
        exchange = Exchange(self._http, call, span)
        return HttpEvents(within(span, exchange.begun, exchange.leave), span)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


class Exchange:
    """One request and its answer.

    Args:
        http: what sends it.
        call: that is sent.
        span: the time that it has.
    """

    def __init__(self, http: httpx.Client, call: Call[Any], span: Span) -> None:
        self._http, self._call, self._span = http, call, span
        self._response: httpx.Response | None = None

    def whole(self) -> httpx.Response:
        """The answer, which has been read."""
        return self._read(self._open())

    def begun(self) -> httpx.Response:
        """The answer, of which nothing has been read; a refusal is raised."""
        response = self._open()
        if response.status_code != 200:
            raise server_error(self._read(response))
        if not response.headers.get("Content-Type", "").startswith(EVENT_MEDIA_TYPE):
            response.close()
            raise ProtocolError(f"{response.url}: status {response.status_code} with a body that is no stream")
        return response

    def leave(self) -> None:
        """End it, from whichever thread."""
        if self._response is not None:
            cut(self._response)

    def _open(self) -> httpx.Response:
        call, span = self._call, self._span
        span.check()
        if self._http.is_closed:
            raise VlpClientError("this client is closed")
        request = self._http.build_request(ROUTES[call.verb][0], request_path(call), **request_content(call, span))
        try:
            self._response = response = self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise network_fault(self._http.base_url, error) from error
        try:
            span.check()
        except VlpClientError:
            response.close()  # nobody waits for it any more
            raise
        return response

    def _read(self, response: httpx.Response) -> httpx.Response:
        """The same answer with its body."""
        chunks = []
        try:
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                self._span.check()
        except httpx.TransportError as error:
            raise network_fault(self._http.base_url, error, answered=True) from error
        except httpx.DecodingError as error:
            raise ProtocolError(f"{response.url}: a body that is not in the encoding that it names") from error
        finally:
            response.close()
        return whole_response(response, b"".join(chunks))
