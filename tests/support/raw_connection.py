"""A client of a real server that sends whatever bytes it is told, and reads answers as they come."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

READ_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer: status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert document["request_id"] == self.headers["x-request-id"]
        return document


class RawConnection:
    """Open inside `with`.

    Args:
        port: of the loopback.
        receive_bytes: what the kernel keeps of what is not read; None: as usual.
    """

    def __init__(self, port: int, receive_bytes: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(READ_LIMIT_S)
        self._socket.connect(("127.0.0.1", port))
        self._kept = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> Self:
        self._socket.sendall(data)
        return self

    def end_sending(self) -> Self:
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def await_leave(self) -> Self:
        """Wait until the server says that it wants the body (100 Continue)."""
        while b"\r\n\r\n" not in self._kept:
            self._more()
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        assert head.split()[1] == b"100", head
        return self

    def answer(self) -> RawAnswer:
        """The next answer, whose length must be told."""
        while b"\r\n\r\n" not in self._kept:
            self._more()
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        while len(self._kept) < length:
            self._more()
        body, self._kept = self._kept[:length], self._kept[length:]
        return RawAnswer(int(first.split()[1]), headers, body)

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        try:
            while data := self._socket.recv(65536):
                self._kept += data
        except ConnectionResetError:
            pass
        data, self._kept = self._kept, b""
        return data

    def is_closed(self) -> bool:
        """Whether the server closes without another byte; waits for it."""
        try:
            return not self._kept and not self._socket.recv(1)
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise AssertionError(f"closed after {self._kept!r}")
        self._kept += data
