"""A picture from an http(s) URL, fetched by the command itself."""

from __future__ import annotations

from vlp_cli.main import CommandFailure
from vlp_cli.table import one_line

_MAX_BYTES = 64 * 1024 * 1024
_MAX_REDIRECTS = 5
_TIMEOUT_S = 30.0


def is_url(argument: str) -> bool:
    """Whether an argument is an http(s) URL and no file."""
    return argument[:8].lower().startswith(("http://", "https://"))


def fetch_picture(url: str) -> bytes:
    """The bytes behind a URL.

    Raises:
        CommandFailure: nothing is to be had there, or too much.
    """
    import httpx

    content = bytearray()
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=_MAX_REDIRECTS, timeout=_TIMEOUT_S) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise CommandFailure(f"{url}: status {response.status_code}")
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise CommandFailure(f"{url}: larger than any picture")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandFailure(one_line(f"{url}: {error or type(error).__name__}")) from error
    return bytes(content)
