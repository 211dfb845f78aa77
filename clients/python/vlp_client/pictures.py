"""Whatever a caller holds as a picture -> what goes over the wire. Pillow is used only when the caller does."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

# Modes that PNG keeps as they are; others are converted first.
_PNG_MODES = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})


@runtime_checkable
class PilImage(Protocol):
    """The part of PIL.Image.Image that is used here."""

    mode: str

    def convert(self, mode: str) -> Any:
        """A copy in another mode."""

    def save(self, fp: Any, format: str, **params: Any) -> None:
        """Write to a file."""


ImageSource = str | Path | bytes | bytearray | memoryview | BinaryIO | PilImage


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture ready to be sent: bytes with a file name, or the URL that the server shall fetch."""

    content: bytes = b""
    file_name: str = "image"
    url: str | None = None

    @property
    def file(self) -> tuple[str, bytes] | None:
        """Name and bytes; None where there is only a URL."""
        return None if self.url is not None else (self.file_name, self.content)

    @property
    def json_value(self) -> str:
        """As JSON holds it: the URL, or base64."""
        return self.url if self.url is not None else base64.b64encode(self.content).decode()

    @property
    def size_bytes(self) -> int:
        """Of what is sent."""
        return len(self.content) if self.url is None else len(self.url)

    def __repr__(self) -> str:
        what = f"{len(self.content)} bytes" if self.url is None else self.url
        return f"Picture({self.file_name!r}, {what})"


ImageItem = Picture
"""A picture among texts."""


def picture(source: ImageSource) -> ImageItem:
    """An item of `Client.embed` that is a picture; errors as `read_picture`."""
    return read_picture(source)


def read_picture(source: ImageSource | None) -> Picture:
    """Read a picture; a str is an http(s) URL or a path.

    Raises:
        OSError: the file cannot be read.
        TypeError: not a picture in any form that is known here.
    """
    if isinstance(source, str):
        if source[:8].lower().startswith(("http://", "https://")):
            return Picture(url=source)
        source = Path(source)
    if isinstance(source, Path):
        return Picture(source.read_bytes(), source.name)
    if isinstance(source, bytes | bytearray | memoryview):
        return Picture(bytes(source))
    if isinstance(source, PilImage):
        return Picture(_encode(source), "image.png")
    if source is not None and hasattr(source, "read"):
        content = source.read()
        if isinstance(content, bytes):
            return Picture(content)
        raise TypeError("image: the file is open as text; open it with mode 'rb'")
    raise TypeError(f"image: got {type(source).__name__}, expected a path, URL, bytes, binary file or PIL image")


def _encode(image: PilImage) -> bytes:
    """PNG, which loses nothing; the orientation tag goes along, so that the server turns the picture as for a file."""
    picture = image if image.mode in _PNG_MODES else image.convert("RGB")
    exif = image.getexif() if hasattr(image, "getexif") else None
    buffer = io.BytesIO()
    if exif:
        picture.save(buffer, "PNG", exif=exif)
    else:
        picture.save(buffer, "PNG")
    return buffer.getvalue()
