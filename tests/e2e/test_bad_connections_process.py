"""A real server and clients that lie, dawdle and flood. After each of them it answers the others."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import httpx
import pictures_made as pictures
import pytest
from raw_connection import RawConnection
from server_process import ServerProcess

SETTINGS = {
    "http.header_timeout_s": "0.5",
    "http.body_timeout_s": "1",
    "http.write_timeout_s": "1",
    "http.keep_alive_s": "1",
    "http.header_limit_bytes": "8192",
    "http.header_limit": "50",
    "http.max_connections": "12",
    "http.body_limit_bytes": "200000",
}
PICTURE = pictures.jpeg()
POST = b"POST /v1/vqa?question=a HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Type: image/jpeg\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
END = b"0\r\n\r\n"


def sized(length: int) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % length


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    arguments = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    folder = tmp_path_factory.mktemp("bad-connections")
    with ServerProcess(folder, "dummy", "dummy-encoder", "--access-log", *arguments) as server:
        yield server


@pytest.fixture(autouse=True)
def answers_others(server: ServerProcess) -> Iterator[None]:
    """Whatever a test does, another client is answered after it."""
    yield
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        response = client.post("/v1/vqa", files={"image": PICTURE}, data={"question": "what?"})
    assert response.status_code == 200, response.text
    assert server.process.poll() is None


FLOODS = {
    "bytes at once": GET + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "bytes without an end": GET + b"X-A: " + b"a" * 20_000,
    "many small ones": GET + b"X: y\r\n" * 51 + b"\r\n",
    "a long address": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "trailers": CHUNKED + chunk(PICTURE) + b"0\r\n" + b"X: y\r\n" * 60 + b"\r\n",
}


@pytest.mark.parametrize("sent", FLOODS.values(), ids=FLOODS.keys())
def test_floods_of_headers_are_431(sent: bytes, server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        answer = client.send(sent).answer()
        assert (answer.status, answer.problem["kind"]) == (431, "headers_too_large")
        assert client.is_closed()


def test_as_many_headers_as_are_taken_are_taken(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        assert client.send(GET + b"X: y\r\n" * 49 + b"\r\n").answer().status == 200


@pytest.mark.parametrize("sent", [GET, GET + b"X-Request-Id: mine\r\nX-A: ", b"G"])
def test_headers_that_drip_in_are_408(sent: bytes, server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        answer = client.send(sent).answer()
        assert (answer.status, answer.problem["kind"]) == (408, "request_timeout")
        assert client.is_closed()


def test_a_connection_that_says_nothing_is_closed(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        assert client.is_closed()


@pytest.mark.parametrize("sent", [sized(5000) + b"a", CHUNKED + chunk(b"a"), CHUNKED + b"ffff\r\nabc"])
def test_bodies_that_stop_are_408_with_the_caller_s_id(sent: bytes, server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        answer = client.send(sent).answer()
        assert (answer.status, answer.problem["kind"]) == (408, "request_timeout")
        assert answer.headers["x-request-id"] == "mine"
        assert client.is_closed()


LIES = {
    "a size that is none": CHUNKED + b"zz\r\nabc\r\n",
    "a chunk longer than its size": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "a size beyond all numbers": CHUNKED + b"f" * 20 + b"\r\nabc\r\n",
    "a negative size": CHUNKED + b"-3\r\nabc\r\n",
    "both lengths": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(PICTURE) + END,
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "a length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "another transfer": POST + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "chunks that are not the last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + chunk(PICTURE) + END,
    "another protocol": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "folded headers": GET + b"X-A: a\r\n b\r\n\r\n",
    "a NUL in a header": GET + b"X-A: a\0b\r\n\r\n",
    "a space before the colon": GET + b"Content-Length : 3\r\n\r\nabc",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", LIES.values(), ids=LIES.keys())
def test_lies_about_length_and_form_are_400(sent: bytes, server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        answer = client.send(sent).answer()
        assert (answer.status, answer.problem["kind"]) == (400, "invalid_argument")
        assert client.is_closed()


@pytest.mark.parametrize("frame", [b"3;" + b"a" * 20_000, chunk(b"abc") + b"0\r\nX: " + b"a" * 20_000])
def test_chunks_that_are_mostly_frame_are_400(frame: bytes, server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        client.send(POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n").await_leave()
        answer = client.send(frame).answer()
        assert (answer.status, answer.problem["kind"]) == (400, "invalid_argument")
        assert client.is_closed()


def test_chunks_of_a_byte_and_trailers_are_slow_and_no_lies(server: ServerProcess) -> None:
    pieces = b"".join(chunk(PICTURE[index : index + 1]) for index in range(len(PICTURE)))
    with RawConnection(server.port) as client:
        answer = client.send(CHUNKED + pieces + b"0\r\nX-Request-Id: evil\r\n\r\n").answer()
        assert (answer.status, answer.headers["x-request-id"]) == (200, "mine")
        assert client.send(sized(len(PICTURE)) + PICTURE).answer().status == 200


def test_a_chunked_body_over_the_limit_is_413_though_nothing_announced_it(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        client.send(CHUNKED + chunk(b"a" * 150_000))
        with contextlib.suppress(OSError):  # the answer may be there before all of it was sent
            client.send(chunk(b"a" * 150_000) + END)
        answer = client.answer()
    assert (answer.status, answer.problem["kind"]) == (413, "too_large")


def test_a_body_that_ends_early_with_its_client_harms_nobody(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        client.send(sized(5000) + b"abc").end_sending()
    with RawConnection(server.port) as client:
        client.send(CHUNKED + b"5\r\nab")


def test_what_follows_a_body_is_another_request_and_the_answer_before_it_is_whole(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        answer = client.send(sized(len(PICTURE)) + PICTURE + b"no request at all\r\n\r\n").answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


def test_requests_sent_ahead_are_answered_in_order_and_too_many_are_cut_off(server: ServerProcess) -> None:
    ahead = b"".join(GET + b"X-Request-Id: r%d\r\n\r\n" % number for number in range(50))
    with RawConnection(server.port) as client:
        client.send(ahead)
        assert [client.answer().headers["x-request-id"] for _ in range(50)] == [f"r{number}" for number in range(50)]
    with RawConnection(server.port) as client:
        answer = client.send((GET + b"\r\n") * 5000).answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


def test_a_body_on_a_get_is_dropped(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        assert client.send(GET + b"Content-Length: 3\r\n\r\nabc").answer().status == 200
        assert client.send(GET + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + END).answer().status == 200
        assert client.send(GET + b"\r\n").answer().status == 200


def test_more_connections_than_are_taken_are_told_so_but_probes_are_answered(server: ServerProcess) -> None:
    with ExitStack() as held:
        waiting = [held.enter_context(RawConnection(server.port)) for _ in range(12)]
        for client in waiting:
            assert client.send(GET + b"\r\n").answer().status == 200
        probe = held.enter_context(RawConnection(server.port)).send(GET + b"\r\n").answer()
        refused = held.enter_context(RawConnection(server.port)).send(sized(3)).answer()
        quiet = held.enter_context(RawConnection(server.port)).send(b"G").answer()
        assert (probe.status, probe.headers["connection"]) == (200, "close")
        assert (refused.status, refused.problem["kind"], refused.headers["retry-after"]) == (503, "unavailable", "1")
        assert refused.headers["x-request-id"] == "mine"
        assert quiet.status == 408
        flood = [held.enter_context(RawConnection(server.port)) for _ in range(200)]
        assert all(client.is_closed() for client in flood[100:])
        assert waiting[0].send(GET + b"\r\n").answer().status == 200


def test_a_client_that_does_not_read_is_let_go(server: ServerProcess) -> None:
    body = json.dumps({"input": [f"text {number}" for number in range(2000)], "model": "dummy-encoder"}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with (
        RawConnection(server.port, receive_bytes=4096) as lazy,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as other,
    ):

        def connections() -> float:
            _, _, rest = other.get("/metrics").text.partition("\nvlpserve_http_connections ")
            return float(rest.partition("\n")[0])

        for _ in range(20):
            lazy.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert connections() == 2
        end = time.monotonic() + 60
        while connections() > 1:
            assert time.monotonic() < end, server.log


GOOD = (
    sized(len(PICTURE)) + PICTURE,
    CHUNKED + chunk(PICTURE[:700]) + chunk(PICTURE[700:]) + END,
    (GET + b"\r\n") * 3,
    b"PUT /v1/collections/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + GET + b"\r\n",
)
PIECES = (b"\r\n", b"\n", b"\0", b":", b" ", b"%", b"\xff", b"0", b"-", b"9" * 20, b"\r\n\r\n", b"chunked", b"\t", b"/")
# 499 is logged and never sent.
EXPECTED = {100, 200, 307, 400, 401, 404, 405, 408, 411, 413, 415, 422, 429, 431, 503}


def mutated(random: Random) -> bytes:
    data = bytearray(random.choice(GOOD))
    for _ in range(random.randint(1, 6)):
        at = random.randrange(min(len(data), 400)) if data else 0
        match random.randrange(4):
            case 0:
                data[at : at + random.randint(1, 20)] = b""
            case 1:
                data[at:at] = random.choice(PIECES)
            case 2:
                data[at : at + 1] = bytes([random.randrange(256)])
            case _:
                data[at:at] = data[at : at + random.randint(1, 200)]
    return bytes(data)


@pytest.mark.parametrize(("seed", "count", "leaves"), [(0, 300, False), (1, 300, False), (2, 1000, True)])
def test_what_chance_makes_of_requests_meets_no_fault_of_ours(
    seed: int, count: int, leaves: bool, server: ServerProcess
) -> None:
    random = Random(seed)

    def send(data: bytes) -> set[int]:
        with RawConnection(server.port) as client:
            with contextlib.suppress(OSError):
                client.send(data)
                if leaves:
                    client.end_sending()
            return {int(status) for status in re.findall(rb"(?m)^HTTP/1\.1 (\d{3}) ", client.rest())}

    with ThreadPoolExecutor(8) as team:
        seen = set().union(*team.map(send, [mutated(random) for _ in range(count)]))
    assert seen <= EXPECTED
    assert leaves or {200, 400} <= seen
    assert "Traceback" not in server.log


def routes_with_a_body(server: ServerProcess) -> list[tuple[str, str]]:
    paths = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=30).json()["paths"]
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in paths.items()
        for method, operation in operations.items()
        # The Open Inference Protocol takes other types, and a body without one.
        if "requestBody" in operation and not path.startswith(("/v1/admin/", "/v2/"))
    ]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "a/b/c"]
)
def test_wrong_content_types_are_415_on_every_route(media_type: str, server: ServerProcess) -> None:
    routes = routes_with_a_body(server)
    assert len(routes) >= 12
    headers = {"Content-Type": media_type} if media_type else {}
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        for method, path in routes:
            response = client.request(method, path, content=b"question=a", headers=headers)
            assert response.status_code == 415, (method, path, response.text)
            assert response.headers["x-request-id"]
            assert response.json()["kind"] == "unsupported_media_type"
            if path not in ("/v1/embeddings", "/v1/chat/completions"):
                assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x"])
def test_compressed_bodies_are_415(encoding: str, server: ServerProcess) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = httpx.post(f"{server.url}/v1/vqa", content=b"{}", headers=headers, trust_env=False, timeout=30)
    assert (response.status_code, response.json()["kind"]) == (415, "unsupported_media_type")


def logged(server: ServerProcess, request_id: str) -> list[tuple[str, int, str]]:
    """Route, status and kind of the lines with this id, once there are any: a thread writes them."""
    end = time.monotonic() + 60
    while not (lines := [json.loads(line) for line in server.log.splitlines() if request_id in line]):
        assert time.monotonic() < end, server.log
    return [(line["route"], line["status"], line["kind"]) for line in lines]


def test_what_the_connection_refuses_is_in_the_log_and_the_figures(server: ServerProcess) -> None:
    with RawConnection(server.port) as client:
        flood = client.send(FLOODS["many small ones"]).answer()
    with RawConnection(server.port) as client:
        lie = client.send(CHUNKED.replace(b"mine", b"the-lie") + b"zz\r\n").answer()
    assert (lie.status, lie.headers["x-request-id"]) == (400, "the-lie")
    assert logged(server, "the-lie") == [("/v1/vqa", 400, "invalid_argument")]
    assert logged(server, flood.headers["x-request-id"]) == [("other", 431, "headers_too_large")]
    metrics = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=30).text
    assert 'kind="headers_too_large",method="other",route="other",status="431"' in metrics
    assert "Invalid HTTP request" not in server.log
    assert "Traceback" not in server.log
