from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlp_client import Client, TimeoutError, Timeouts, Tls
from vlp_client.address import is_loopback, read_address


@pytest.mark.parametrize(
    ("url", "scheme", "target"),
    [
        ("http://127.0.0.1:8080", "http", "127.0.0.1:8080"),
        ("HTTPS://example.org/prefix/", "https", "example.org"),
        ("grpc://127.0.0.1:8081", "grpc", "127.0.0.1:8081"),
        ("grpcs://[::1]:8081/", "grpcs", "[::1]:8081"),
    ],
)
def test_addresses(url: str, scheme: str, target: str) -> None:
    address = read_address(url)
    assert (address.scheme, address.target, address.is_grpc) == (scheme, target, scheme in ("grpc", "grpcs"))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://a", "grpc://a:1/path", "http://", "unix:/a", "http://u:p@a"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://|no path"):
        Client(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("127.9.9.9", True), ("10.0.0.1", False), ("a", False)],
)
def test_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_certificate_without_its_key() -> None:
    with pytest.raises(ValueError, match="give both, or none"):
        Tls(cert_file="cert.pem")


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_a_file_of_certificates_that_is_not_there(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Client(f"{scheme}://127.0.0.1:1", tls=Tls(ca_file=tmp_path / "none.pem"))


def test_a_number_of_seconds_is_for_reading_and_at_most_ten_for_connecting() -> None:
    assert Timeouts.of(60.0) == Timeouts(10.0, 60.0)
    assert Timeouts.of(3.0) == Timeouts(3.0, 3.0)
    assert Timeouts.of(Timeouts(1.0, 2.0, 3.0)) == Timeouts(1.0, 2.0, 3.0)


def timeouts_sent(timeouts: Timeouts, **call: Any) -> dict[str, float]:
    sent: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.extensions["timeout"])
        return httpx.Response(200, json={"model": "m@1", "answers": []})

    with Client("http://server", transport=httpx.MockTransport(answer), timeout_s=timeouts) as client:
        client.vqa(b"x", "what?", **call)
    return sent[0]


def test_what_is_waited_for_at_each_step() -> None:
    assert timeouts_sent(Timeouts(1.0, 2.0)) == {"connect": 1.0, "read": 2.0, "write": 2.0, "pool": 2.0}
    assert timeouts_sent(Timeouts(1.0, 60.0), deadline_s=3.0)["read"] == 8.0
    bounded = timeouts_sent(Timeouts(10.0, 60.0, total_s=0.5))
    assert 0 < bounded["connect"] <= 0.5
    assert 0 < bounded["read"] <= 0.5


def test_an_answer_in_drops_ends_in_time() -> None:
    class Drops(httpx.SyncByteStream):
        closed = False

        def __iter__(self) -> Any:
            while True:
                yield b" "

        def close(self) -> None:
            self.closed = True

    body = Drops()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=body))
    started = time.monotonic()
    with (
        Client("http://server", transport=transport, timeout_s=Timeouts(total_s=0.05)) as client,
        pytest.raises(TimeoutError, match=r"within 0.05 s"),
    ):
        client.models()
    assert body.closed
    assert time.monotonic() > started
