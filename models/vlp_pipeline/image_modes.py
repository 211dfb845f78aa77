"""Any Pillow mode -> 8-bit RGB.

Transparent pixels are laid over white, as transformers' `convert_to_rgb` does. (The original training scripts drop the
alpha channel, which shows whatever colour an editor left under it; photographs have none, so nothing else changes.)
Deep grey pictures are scaled to 8 bits; Pillow's own conversion would clip everything above 255 to white.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from vlp_spec.errors import InvalidImageError

_TIFF_BITS_PER_SAMPLE = 258
_UNASSOCIATED = {"La": "LA", "RGBa": "RGBA"}


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert a loaded picture to mode RGB.

    Raises:
        InvalidImageError: the mode has no defined white (32-bit integers over 65535, negative or floating values).
    """
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return _from_deep_grey(picture)
    if picture.mode == "F":
        raise InvalidImageError(
            "image: floating point pixels have no defined white; send 8 or 16 bits per channel instead"
        )
    if picture.mode in _UNASSOCIATED:
        picture = picture.convert(_UNASSOCIATED[picture.mode])
    if _has_alpha(picture):
        layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        # The same pixels as transformers' alpha_composite, in two thirds of its memory.
        white = Image.new("RGB", picture.size, (255, 255, 255))
        white.paste(layer, mask=layer)
        return white
    # A transparent colour that is not honoured would make Pillow search for it, and warn.
    picture.info.pop("transparency", None)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _has_alpha(picture: Image.Image) -> bool:
    if "A" in picture.getbands():
        return True
    transparent = picture.info.get("transparency")
    if isinstance(transparent, tuple):
        # A 16-bit PNG names its transparent colour in 16 bits, which no longer exists in the 8-bit pixels.
        return all(0 <= value <= 255 for value in transparent)
    return transparent is not None


def _from_deep_grey(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture)
    if values.dtype.itemsize > 2:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 0xFFFF:
            raise InvalidImageError(
                f"image: grey values from {low} to {high} have no defined white; send 8 or 16 bits per channel instead"
            )
        values = values.astype(np.uint16)
    return Image.fromarray(_eight_bits(_white_level(picture))[values]).convert("RGB")


def _white_level(picture: Image.Image) -> int:
    """The value that means white: 65535, or 4095 for a 12-bit TIFF."""
    bits = getattr(picture, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE)
    return 0x0FFF if bits in (12, (12,)) else 0xFFFF


def _eight_bits(white: int) -> np.ndarray:
    """(65536,) uint8: value -> round(255 * value / white)."""
    values = np.arange(0x10000, dtype=np.int64)
    return np.minimum((values * 255 + white // 2) // white, 255).astype(np.uint8)
