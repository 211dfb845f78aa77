"""A picture from an http(s) URL, fetched by the command itself."""

from __future__ import annotations

from vlp_cli.main import CommandFailure
from vlp_cli.shown_urls import without_secrets
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

    content, shown = bytearray(), without_secrets(url)
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=_MAX_REDIRECTS, timeout=_TIMEOUT_S) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise CommandFailure(f"{shown}: status {response.status_code}")
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise CommandFailure(f"{shown}: larger than any picture")
    except (httpx.InvalidURL, UnicodeEncodeError) as error:  # whose words have parts of the URL
        raise CommandFailure(one_line(f"{shown}: expected a URL in UTF-8")) from error
    except httpx.HTTPError as error:
        raise CommandFailure(one_line(f"{shown}: {without_secrets(str(error)) or type(error).__name__}")) from error
    return bytes(content)
