"""A data set of a few coloured pictures, enough to train a tiny model on in a second."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230)}
SIZES = ((16, 16), (24, 16), (16, 24))

RECIPE = """
name = "tiny"
log_every = 1

[data]
root = "{root}"
decode_threads = 1
pool_batches = 2

[image]
shorter_edge = 16
longer_edge = 26
patch_size = 8
size_divisor = 8

[text]
vocab_size = 200
max_length = 12

[model]
hidden_size = 8
num_layers = 2
num_heads = 2
dropout = 0.0

[objectives.vqa]

[optimisation]
lr = 0.01
batch_size = 4
max_steps = 4
grad_clip = 0.0

[compute]
num_threads = 1

[checkpoint]
every = 0

[evaluation]
every = 0
limit = 8
"""

DUAL_MODEL = """
[model]
family = "clip"
[model.towers]
image_size = 16
patch_size = 8
image_width = 8
image_layers = 1
image_heads = 2
text_width = 8
text_layers = 1
text_heads = 2
dimension = 8

[objectives.itc]
"""


def picture_bytes(index: int) -> bytes:
    """A PNG of one colour with a little noise; the colour is COLOURS' number index % 3."""
    width, height = SIZES[index % len(SIZES)]
    colour = np.array(list(COLOURS.values())[index % 3])
    noise = np.random.default_rng(index).integers(-20, 20, size=(height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def record_of(split: str, index: int) -> dict[str, Any]:
    """Captions and questions of a picture, without its path."""
    colour = list(COLOURS)[index % 3]
    asked = list(COLOURS)[index % 2]
    return {
        "id": f"{split}-{index}",
        "captions": [f"a {colour} picture", f"this is a picture, it is very {colour}"],
        "questions": [
            {"question": "which colour is it?", "answers": {colour: 1.0}, "type": "colour"},
            {
                "question": f"is the picture {asked}?",
                "answers": {"yes" if asked == colour else "no": 1.0},
                "type": "existence",
            },
        ],
        "regions": [{"box": [0.0, 0.0, 0.5, 0.5], "words": [colour, "picture"]}],
    }


def write_jsonl(root: Path, counts: dict[str, int]) -> Path:
    """Write splits as JSONL with an image folder."""
    for split, count in counts.items():
        folder = root / "images" / split
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for index in range(count):
            path = folder / f"{index}.png"
            path.write_bytes(picture_bytes(index))
            lines.append(json.dumps(record_of(split, index) | {"image": str(path.relative_to(root))}))
        (root / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def write_shards(root: Path, counts: dict[str, int], shard_size: int = 5) -> Path:
    """Write the same splits as WebDataset shards."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        for number, start in enumerate(range(0, count, shard_size)):
            with tarfile.open(root / f"{split}-{number:06d}.tar", "w") as shard:
                for index in range(start, min(start + shard_size, count)):
                    _add(shard, f"{index:04d}.png", picture_bytes(index))
                    _add(shard, f"{index:04d}.json", json.dumps(record_of(split, index)).encode())
    return root


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


def recipe_text(root: Path) -> str:
    """A recipe for `root`."""
    return RECIPE.format(root=root)


def dual_recipe_text(root: Path) -> str:
    """A recipe of a dual encoder for `root`."""
    before, _, after = recipe_text(root).partition("[model]")
    _, _, rest = after.partition("[objectives.vqa]")
    return before + DUAL_MODEL.strip() + rest


def writing_recipe_text(root: Path, family: str = "blip") -> str:
    """A recipe of a model that writes captions, for `root`."""
    return dual_recipe_text(root).replace('"clip"', f'"{family}"').replace("[objectives.itc]", "[objectives.lm]")
