from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.http.multipart import Part, read_multipart
from vlp_spec.errors import RequestError

BODY = (
    b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\x00\r\n--not the boundary\r\n\xff\r\n"
    b'--B\r\nContent-Disposition: form-data; name="question"\r\n\r\nwhat?\r\n--B--\r\n'
)
PARTS = [Part("image", True, b"\x00\r\n--not the boundary\r\n\xff"), Part("question", False, b"what?")]


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int) -> list[Part]:
    return await read_multipart(
        "multipart/form-data; boundary=B", pieces(body, size), max_parts=3, max_field_bytes=1000
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
async def test_parts_do_not_depend_on_how_the_body_is_cut(size: int) -> None:
    assert await read(BODY, size) == PARTS


@pytest.mark.parametrize("end", range(0, len(BODY) - 4, 9))
async def test_a_body_that_is_cut_off_is_refused(end: int) -> None:
    with pytest.raises(RequestError):
        await read(BODY[:end], 20)


@given(st.binary(max_size=200), st.integers(1, 50))
async def test_any_bytes_are_read_or_refused(noise: bytes, size: int) -> None:
    with suppress(RequestError):  # and nothing else
        assert len(await read(b"--B\r\n" + noise, size)) <= 3
