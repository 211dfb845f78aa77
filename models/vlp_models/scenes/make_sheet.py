"""Render the sprite sheet from Noto Color Emoji (SIL Open Font License 1.1).

Run by hand when the list of kinds changes: `python -m vlp_models.scenes.make_sheet NotoColorEmoji.ttf`.
The sheet holds luminance and alpha only: the scenes paint things in colours of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlp_models.scenes.kinds import KINDS

SPRITE_PX = 72
COLUMNS = 10
_FONT_PX = 109  # the only size in which the font's bitmaps exist


def render_sprite(emoji: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One emoji as a square luminance-alpha picture of SPRITE_PX, its luminance stretched to 0.15..1."""
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((12, 12), emoji, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font draws nothing for {emoji!r}")
    drawn = canvas.crop(box)
    side = max(drawn.size)
    square = Image.new("RGBA", (side, side))
    square.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    square = square.resize((SPRITE_PX, SPRITE_PX), Image.Resampling.LANCZOS)
    alpha = np.asarray(square.getchannel("A"), dtype=np.float32)
    luminance = np.asarray(square.convert("RGB").convert("L"), dtype=np.float32)
    low, high = np.percentile(luminance[alpha > 128], [3, 97])
    stretched = np.clip((luminance - low) / max(high - low, 1.0), 0, 1) * 0.85 + 0.15
    return Image.fromarray(np.stack([stretched * 255, alpha], axis=-1).round().astype(np.uint8), mode="LA")


def main(font_path: str) -> None:
    """Write sprites.png beside this file."""
    font = ImageFont.truetype(font_path, _FONT_PX)
    rows = -(-len(KINDS) // COLUMNS)
    sheet = Image.new("LA", (COLUMNS * SPRITE_PX, rows * SPRITE_PX))
    for index, kind in enumerate(KINDS):
        row, column = divmod(index, COLUMNS)
        sheet.paste(render_sprite(kind.emoji, font), (column * SPRITE_PX, row * SPRITE_PX))
    sheet.save(Path(__file__).with_name("sprites.png"), optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
