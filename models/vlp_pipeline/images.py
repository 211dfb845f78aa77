"""Bytes of a picture file -> pixels, trusting nothing that the file says.

Sizes are checked before anything is allocated, only the six containers of `image_headers` are opened, a damaged or
truncated file is refused (never half shown), and the Exif orientation is applied. Of an animation or a file of
several pages the first picture is taken. Pillow's global settings are left as they are.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from vlp_spec.errors import InvalidImageError, RequestError, TooLargeError

from vlp_pipeline.image_headers import Container, early_size, exif_orientation, find_container, gif_picture, jpeg_length
from vlp_pipeline.image_modes import to_rgb

# Pillow warns above this many pixels, on its own and for the whole process.
MAX_PIXELS = 89_478_485
# Every scan of a JPEG goes over the whole picture, however few its bytes are; the usual progressive file has 10.
_MAX_SCANS = 64
_JPEG_SCAN = b"\xff\xda"
_TIFF_COMPRESSION, _TIFF_OLD_JPEG, _TIFF_JPEG = 259, 6, 7
_TIFF_STRIPS, _TIFF_TILES = (273, 279), (324, 325)
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323
# Pillow decodes run-length BMP pixel run by pixel run in Python: about 1 s for this many bytes.
_MAX_RLE_BMP_BYTES = 1 << 20

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture file may cost.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width * height as the header has it; at most 89,478,485, where Pillow starts to warn.
        max_side: the longer of width and height, in pixels.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side: int = 16_384

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_pixels, self.max_side) < 1 or self.max_pixels > MAX_PIXELS:
            raise ValueError(f"image limits: expected 1 or more, and at most {MAX_PIXELS} pixels; got {self}")


DEFAULT_IMAGE_LIMITS = ImageLimits()


class _JpegFile(JpegImagePlugin.JpegImageFile):
    """Pillow's reader looks up the print resolution in the Exif block, and warns when that block is broken."""

    def getexif(self) -> Image.Exif:
        """An empty block: the orientation is read by `exif_orientation`."""
        return Image.Exif()


# The readers themselves, not Image.open: that one warns of sizes that the limits here allow.
_READERS: dict[Container, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    Container.JPEG: _JpegFile,
    Container.PNG: PngImagePlugin.PngImageFile,
    Container.WEBP: WebPImagePlugin.WebPImageFile,
    Container.GIF: GifImagePlugin.GifImageFile,
    Container.BMP: BmpImagePlugin.BmpImageFile,
    Container.TIFF: TiffImagePlugin.TiffImageFile,
}
_quiet_lock = threading.Lock()


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_IMAGE_LIMITS) -> np.ndarray:
    """Decode a picture file.

    Args:
        data: a JPEG, PNG, WebP, GIF, BMP or TIFF file.
        limits: what it may cost.

    Returns:
        (height, width, 3) uint8, RGB, upright; owned by the caller.

    Raises:
        InvalidImageError: not a picture of these formats, or a damaged or truncated one.
        TooLargeError: the file, or the picture that its header announces, is over a limit.
    """
    return np.array(open_picture(data, limits))


def open_picture(data: bytes, limits: ImageLimits = DEFAULT_IMAGE_LIMITS) -> Image.Image:
    """As `decode_image`, but as a loaded Pillow picture of mode RGB: saves a copy where it is resized next."""
    container = _check_file(data, limits)
    if container is Container.JPEG:
        data = _check_jpeg(data)
    if container is Container.GIF:
        data = _check_gif(data)
    may_warn = container is Container.TIFF or (container is Container.PNG and b"acTL" in data)
    with _quiet() if may_warn else nullcontext():
        try:
            return _decode(data, container, limits)
        except RequestError:
            raise
        except (MemoryError, Image.DecompressionBombError) as error:
            raise TooLargeError(
                "image: decoding needs too much memory; send a smaller one", detail=repr(error)
            ) from error
        # Pillow's readers raise whatever the damaged bytes lead them to: OSError, SyntaxError, IndexError...
        except Exception as error:
            raise _damaged(container, repr(error)) from error


def _check_file(data: bytes, limits: ImageLimits) -> Container:
    if not data:
        raise InvalidImageError("image: 0 bytes; send the content of a picture file")
    if len(data) > limits.max_bytes:
        raise TooLargeError(f"image: {len(data)} bytes, at most {limits.max_bytes} are accepted; send a smaller one")
    container = find_container(data)
    if container is None:
        raise InvalidImageError(f"image: not a picture that can be read; send one of {', '.join(Container)}")
    if size := early_size(container, data):
        _check_size(size, limits)
    return container


def _check_jpeg(data: bytes) -> bytes:
    """The file, without what follows its picture where only that makes it look like one of many scans."""
    if data.count(_JPEG_SCAN) > _MAX_SCANS:
        data = data[: jpeg_length(data)]
        _check_scans(data.count(_JPEG_SCAN), _MAX_SCANS)
    return data


def _check_gif(data: bytes) -> bytes:
    """The file, without what stands before its first frame and is none of the picture."""
    picture = gif_picture(data)
    if picture is None:
        raise _damaged(Container.GIF, "no frame")
    return picture


def _damaged(container: Container, detail: str) -> InvalidImageError:
    return InvalidImageError(f"image: damaged or truncated {container} file; send a complete one", detail=detail)


def _check_scans(scans: int, most: int) -> None:
    if scans > most:
        raise TooLargeError(f"image: JPEG of {scans} scans, at most {most} are decoded; save it with fewer")


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InvalidImageError(f"image: the header says {width}x{height} pixels; at least 1x1 is needed")
    if max(size) > limits.max_side or width * height > limits.max_pixels:
        raise TooLargeError(
            f"image: {width}x{height} pixels, at most {limits.max_pixels} in all and {limits.max_side} a side "
            "are accepted; send a smaller one"
        )


def _decode(data: bytes, container: Container, limits: ImageLimits) -> Image.Image:
    with _READERS[container](io.BytesIO(data)) as picture:
        _check_size(picture.size, limits)
        if container is Container.TIFF:
            _check_tiles(picture, limits)
            _check_tiff_scans(picture, data)
        if container is Container.BMP and len(data) > _MAX_RLE_BMP_BYTES and picture.tile[0].codec_name == "bmp_rle":
            raise TooLargeError(f"image: a run-length coded BMP of over {_MAX_RLE_BMP_BYTES} bytes; send it as PNG")
        picture.load()
        # A PNG may carry its Exif block after the pixels. A TIFF is turned upright by Pillow itself.
        exif = b"" if container is Container.TIFF else picture.info.get("exif", b"")
        rgb = to_rgb(picture)
    turn = _TURNS.get(exif_orientation(exif))
    return rgb if turn is None else rgb.transpose(turn)


def _check_tiles(picture: ImageFile.ImageFile, limits: ImageLimits) -> None:
    """A TIFF is decoded into whole tiles, which may be far larger than the picture."""
    tags = picture.tag_v2  # type: ignore[attr-defined]
    tile = tags.get(_TIFF_TILE_WIDTH), tags.get(_TIFF_TILE_LENGTH)
    if all(isinstance(side, int) for side in tile):
        _check_size(tile, limits)


def _check_tiff_scans(picture: ImageFile.ImageFile, data: bytes) -> None:
    """A TIFF may hold a JPEG in each of its strips or tiles; of other compressions any bytes are to be expected."""
    tags = picture.tag_v2  # type: ignore[attr-defined]
    compression = tags.get(_TIFF_COMPRESSION)
    if compression == _TIFF_OLD_JPEG:
        _check_scans(data.count(_JPEG_SCAN), _MAX_SCANS)
    if compression != _TIFF_JPEG:
        return
    starts, sizes = (tags[tag] for tag in (_TIFF_TILES if _TIFF_TILES[0] in tags else _TIFF_STRIPS))
    if sum(sizes) > len(data):
        raise InvalidImageError("image: a TIFF whose parts overlap, or reach beyond its end; save it anew")
    blocks = [(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    _check_scans(sum(data.count(_JPEG_SCAN, *block) for block in blocks), _MAX_SCANS + len(blocks))


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop Pillow's warnings about odd metadata of a TIFF or animated PNG.

    Warning filters belong to the process, so these two rare containers are decoded one at a time.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
