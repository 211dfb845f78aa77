"""A data set of boxes on grey with everything that is judged and pointed at, and the regions of its pictures.

Each picture has a box at the left and, two times in three, one at the right. A region is one of them, a little off its
place, or, in every second picture, the whole picture: one to three regions a picture.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny_pictures import COLOURS, recipe_text
from vlp_models.data.region_pack import RegionPackWriter
from vlp_pipeline.regions import Regions, check_regions

SIZE = (96, 64)
PLACES = {"left": (0.05, 0.2, 0.4, 0.8), "right": (0.55, 0.1, 0.95, 0.7)}
NAMES = tuple(COLOURS)
REGION_SIZE = 6
REGION_CLASSES = 1 + len(NAMES)  # the background is the first
JUDGEMENTS = ("contradiction", "entailment", "neutral")
_UNSEEN_BOX = [0.45, 0.9, 0.5, 1.0]
_WHOLE = (0.0, 0.0, 1.0, 1.0)


def things_of(index: int) -> dict[str, str]:
    """Place -> colour of the boxes in a picture."""
    found = {"left": NAMES[index % 3]}
    return found | {"right": NAMES[(index // 3) % 3]} if index % 3 else found


def gallery_picture(index: int) -> bytes:
    """A PNG of it."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    for place, colour in things_of(index).items():
        x0, y0, x1, y1 = (round(share * side) for share, side in zip(PLACES[place], SIZE * 2, strict=True))
        pixels[y0:y1, x0:x1] = COLOURS[colour]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def gallery_regions(index: int, region_size: int = REGION_SIZE, *, classes: bool = True) -> Regions:
    """What a detector would give: features that tell the colour, the place, and otherwise noise."""
    rng = np.random.default_rng(index)
    boxes: list[np.ndarray] = []
    features = np.abs(rng.normal(scale=0.05, size=(3, region_size)))
    probabilities = np.full((3, REGION_CLASSES), 0.1)
    for row, (place, colour) in enumerate(things_of(index).items()):
        boxes.append(np.array(PLACES[place]) + rng.uniform(-0.02, 0.02, 4))
        features[row, NAMES.index(colour)] += 1
        features[row, 3 + row] += 1
        probabilities[row, 1 + NAMES.index(colour)] = 0.7
    if index % 2:
        probabilities[len(boxes), 0] = 0.7
        boxes.append(np.array(_WHOLE))
    count = len(boxes)
    return check_regions(
        np.stack(boxes),
        features[:count],
        scores=np.linspace(0.9, 0.5, count),
        class_probabilities=probabilities[:count] if classes else None,
    )


def gallery_record(split: str, index: int) -> dict[str, Any]:
    """The record of a picture; each even one is told about together with the next, whether that is there or not."""
    things = things_of(index)
    left = things["left"]
    other = NAMES[(index + 1) % 3]
    hypothesis = (f"the left box is {left}", f"the left box is {other}", "the box is heavy")[index % 3]
    record: dict[str, Any] = {
        "id": f"{split}-{index}",
        "captions": [
            f"a {left} box at the left",
            f"there is a {things['right']} box at the right" if "right" in things else "there is one box",
        ],
        "questions": [
            {"question": "which colour is the left box?", "answers": {left: 1.0}, "type": "colour"},
            {
                "question": f"is the left box {other}?",
                "answers": {"no": 1.0},
                "type": "existence",
            },
        ],
        "hypotheses": [
            {
                "hypothesis": hypothesis,
                "label": ("entailment", "contradiction", "neutral")[index % 3],
                "type": "weight" if index % 3 == 2 else "colour",
            },
            {"hypothesis": f"there is a {left} box", "label": "entailment", "type": "colour"},
        ],
        "phrases": [
            {"phrase": f"the {place} {colour} box", "box": list(PLACES[place]), "type": place}
            for place, colour in things.items()
        ],
        "regions": [{"box": list(PLACES[place]), "words": [colour, "box"]} for place, colour in things.items()],
    }
    if index % 4 == 3:
        record["phrases"].append({"phrase": "the cloud", "box": _UNSEEN_BOX})
    if index % 2 == 0:
        is_true = bool(index % 4)
        colour = NAMES[(index + 1) % 3] if is_true else left
        statement = f"the left box of the second picture is {colour}"
        record["pair_statements"] = [
            {"statement": statement, "other": f"{split}-{index + 1}", "label": is_true, "type": "second"}
        ]
    return record


def write_gallery(root: Path, counts: dict[str, int], region_size: int = REGION_SIZE, *, classes: bool = True) -> Path:
    """Write splits as JSONL with an image folder, and a pack of regions for each under regions/."""
    for split, count in counts.items():
        folder = root / "images" / split
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for index in range(count):
            path = folder / f"{index}.png"
            path.write_bytes(gallery_picture(index))
            lines.append(json.dumps(gallery_record(split, index) | {"image": str(path.relative_to(root))}))
        (root / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        with RegionPackWriter(root / "regions" / split) as writer:
            for index in range(count):
                writer.add(f"{split}-{index}", gallery_regions(index, region_size, classes=classes))
    return root


def uniter_recipe_text(root: Path, *objectives: str) -> str:
    """A recipe of a UNITER for `root`, with the named objectives (question answering without a name)."""
    text = recipe_text(root).replace("[data]\n", f'[data]\nregions = "{root}/regions"\nmax_regions = 4\n')
    text = text.replace("[model]\n", '[model]\nfamily = "uniter"\n')
    named = "".join(f"[objectives.{name}]\n" for name in objectives or ("vqa",))
    return text.replace("[objectives.vqa]\n", named)
