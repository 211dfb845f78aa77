"""Write the scenes as a data set: JSON lines with picture files, or WebDataset shards.

The record of a picture is the one that vlp_models.data reads; the format knows nothing of scenes.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import multiprocessing
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vlp_models.scenes.captions import captions_of
from vlp_models.scenes.gallery import COVER_WORD, draw_gallery_scene, partner_of
from vlp_models.scenes.hypotheses import hypotheses_of
from vlp_models.scenes.pair_statements import pair_statements_of
from vlp_models.scenes.phrases import phrases_of
from vlp_models.scenes.questions import questions_of
from vlp_models.scenes.render import encode_jpeg, paint
from vlp_models.scenes.world import Scene, Split, World, box_around

GENERATOR_VERSION = 2  # part of every seed: pictures change only together with it
_PARTS = ("scene", "questions", "captions", "paint")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ScenesConfig:
    """How much to draw.

    Attributes:
        pictures: split -> how many pictures.
        workers: processes that draw; the pictures do not depend on it.
        shard_size: pictures a WebDataset shard; 0 writes JSON lines and picture files.
        gallery: pictures in pairs, half of them with covered places, and with sentences to judge.
    """

    pictures: dict[Split, int]
    seed: int = 0
    shard_size: int = 0
    workers: int = 1
    gallery: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawn scene: JPEG bytes and its record without the picture's path."""

    id: str
    jpeg: bytes
    record: dict[str, Any]


def draw_picture(split: Split, index: int, seed: int = 0, *, gallery: bool = False) -> Picture:
    """Picture `index` of a split; the same whatever else is drawn."""
    of = f"gallery-{GENERATOR_VERSION}-{seed}" if gallery else f"scenes-{GENERATOR_VERSION}-{seed}"
    # One stream a purpose: other sentences about a scene leave its picture as it is.
    rng = {part: random.Random(f"{of}-{split}-{index}-{part}") for part in _PARTS}
    scene = draw_gallery_scene(split, index, of) if gallery else World(split).draw(rng["scene"])
    questions = questions_of(scene, rng["questions"])
    captions = captions_of(scene, rng["captions"])
    name = _name(split, index)
    things = [dataclasses.asdict(thing) | {"box": list(thing.box)} for thing in scene.things]
    record: dict[str, Any] = {
        "id": name,
        "captions": list(captions),
        "questions": [
            {"question": asked.question, "answers": {asked.answer: 1.0}, "type": asked.type} for asked in questions
        ],
        "regions": [
            {"box": _shares(thing.box, scene), "words": [thing.size, thing.colour, thing.kind]}
            for thing in scene.things
        ],
        "scene": {"width": scene.width, "height": scene.height, "things": things},
    }
    if gallery:
        record["regions"] += [
            {"box": _shares(box_around(cover), scene), "words": [COVER_WORD]} for cover in scene.covers
        ]
        record["scene"]["covers"] = [dataclasses.asdict(cover) for cover in scene.covers]
        record |= _sentences(scene, split, index, of)
    return Picture(name, encode_jpeg(paint(scene, rng["paint"]), rng["paint"]), record)


def _name(split: Split, index: int) -> str:
    return f"{split}-{index:06d}"


def _sentences(scene: Scene, split: Split, index: int, of: str) -> dict[str, Any]:
    """What of the gallery's scene is to be judged, beside another picture or alone, and to be pointed at."""
    rng = {part: random.Random(f"{of}-{split}-{index}-{part}") for part in ("hypotheses", "statements", "phrases")}
    found: dict[str, Any] = {
        "phrases": [
            {"phrase": phrase.text, "box": _shares(phrase.thing.box, scene), "type": phrase.type}
            for phrase in phrases_of(scene, rng["phrases"])
        ]
    }
    if scene.covers:
        asked = hypotheses_of(scene, rng["hypotheses"])
        found["hypotheses"] = [{"hypothesis": one.text, "label": one.label, "type": one.type} for one in asked]
    elif index % 2 == 0:
        other = partner_of(index)
        told = pair_statements_of(scene, draw_gallery_scene(split, other, of), rng["statements"])
        found["pair_statements"] = [
            {"statement": one.text, "other": _name(split, other), "label": one.is_true, "type": one.type}
            for one in told
        ]
    return found


def _shares(box: tuple[int, int, int, int], scene: Scene) -> list[float]:
    """A box in pixels as shares of the picture's sides."""
    sides = (scene.width, scene.height, scene.width, scene.height)
    return [min(max(edge / side, 0.0), 1.0) for edge, side in zip(box, sides, strict=True)]


def write_scenes(root: Path, config: ScenesConfig, progress: Progress | None = None) -> None:
    """Write the splits of `config` under `root`, drawing with `config.workers` processes."""
    root.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(config.workers) as pool:
        for split, count in config.pictures.items():
            draw = partial(draw_picture, split, seed=config.seed, gallery=config.gallery)
            pictures = _watched(pool.imap(draw, range(count), chunksize=32), split, count, progress)
            if config.shard_size:
                _write_shards(root, split, pictures, config.shard_size)
            else:
                _write_files(root, split, pictures)


def _watched(pictures: Iterable[Picture], split: str, count: int, progress: Progress | None) -> Iterator[Picture]:
    for done, picture in enumerate(pictures, start=1):
        yield picture
        if progress is not None:
            progress(split, done, count)


def _write_files(root: Path, split: str, pictures: Iterator[Picture]) -> None:
    folder = root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = root / f"{split}.jsonl.unfinished"
    with unfinished.open("w", encoding="utf-8") as lines:
        for picture in pictures:
            path = folder / f"{picture.id}.jpg"
            path.write_bytes(picture.jpeg)
            record = {"id": picture.id, "image": path.relative_to(root).as_posix()} | picture.record
            lines.write(json.dumps(record) + "\n")
    unfinished.replace(root / f"{split}.jsonl")


def _write_shards(root: Path, split: str, pictures: Iterator[Picture], shard_size: int) -> None:
    for number in itertools.count():
        chunk = list(itertools.islice(pictures, shard_size))
        if not chunk:
            return
        with tarfile.open(root / f"{split}-{number:06d}.tar", "w") as shard:
            for picture in chunk:
                _add(shard, f"{picture.id}.jpg", picture.jpeg)
                _add(shard, f"{picture.id}.json", json.dumps(picture.record).encode())


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))
