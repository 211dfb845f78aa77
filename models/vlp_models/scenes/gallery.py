"""The gallery: scenes in pairs that hold much the same things, half of them with covered places.

What lies under a cover cannot be known, so a sentence about a picture may be true, false, or open. Two pictures of a
pair share most of what is in them, so that sentences which compare them are hard.
"""

from __future__ import annotations

import random
from dataclasses import replace

from vlp_models.scenes.world import CELL_PX, GRIDS, Cover, Pair, Scene, Split, World

MAX_COVERS = 2
COVER_WORD = "cover"
_COVER_PX = (56, 62)


def partner_of(index: int) -> int:
    """The other picture of a picture's pair: 0 and 1 belong together, 2 and 3, and so on."""
    return index ^ 1


def has_covers(index: int) -> bool:
    """Whether a picture of the gallery has covered places: every other pair does."""
    return index // 2 % 2 == 0


def draw_gallery_scene(split: Split, index: int, seed: str) -> Scene:
    """Scene `index`; the same whatever else is drawn.

    Args:
        split: whose compositions it keeps to.
        index: from 0.
        seed: of the whole gallery.
    """
    world, together = World(split), random.Random(f"{seed}-{split}-pair-{index // 2}")
    grid, pairs = together.choice(GRIDS), world.pick_pairs(together)
    others = world.pick_pairs(together)
    rng = random.Random(f"{seed}-{split}-scene-{index}")
    scene = world.draw_of(_own(pairs, others, index, rng), grid, rng)
    return cover_places(scene, rng.randint(1, MAX_COVERS), rng) if has_covers(index) else scene


def _own(pairs: list[Pair], others: list[Pair], index: int, rng: random.Random) -> list[Pair]:
    """What the picture shows of its pair's things; sometimes the second picture shows other things."""
    if index % 2 and rng.random() < 0.15:
        return others
    # The first pair stays first: it carries the look that the split holds back.
    rest = pairs[1:]
    rng.shuffle(rest)
    return [pairs[0], *rest[: rng.randint(max(0, len(rest) - 1), len(rest))]]


def cover_places(scene: Scene, count: int, rng: random.Random) -> Scene:
    """The scene with sheets over so many of its empty places."""
    taken = {(thing.x // CELL_PX, thing.y // CELL_PX) for thing in scene.things}
    cells = [(x, y) for x in range(scene.width // CELL_PX) for y in range(scene.height // CELL_PX)]
    free = rng.sample([cell for cell in cells if cell not in taken], count)
    covers = [
        Cover(x * CELL_PX + CELL_PX // 2, y * CELL_PX + CELL_PX // 2, rng.randint(*_COVER_PX)) for x, y in sorted(free)
    ]
    return replace(scene, covers=tuple(covers))
