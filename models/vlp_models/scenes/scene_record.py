"""A scene as it lies in a data set's record, and back to a scene."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from vlp_models.scenes.world import Cover, Scene, Thing


def read_scene(raw: Any) -> Scene | None:
    """Read a record's "scene".

    Args:
        raw: {"width", "height", "things": [{"kind", "colour", "size", "x", "y", "side"}, ...],
            "covers"?: [{"x", "y", "side"}, ...]}, further keys ignored.

    Returns:
        The scene; None where the value is missing or means something else, since any data set may have such a key.
    """
    try:
        things = tuple(_read_thing(thing) for thing in raw["things"])
        covers = tuple(Cover(int(one["x"]), int(one["y"]), int(one["side"])) for one in raw.get("covers", ()))
        return Scene(int(raw["width"]), int(raw["height"]), things, covers)
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def _read_thing(raw: Mapping[str, Any]) -> Thing:
    # One text for each word of the world, not one for each thing of forty thousand pictures.
    words = [sys.intern(str(raw[name])) for name in ("kind", "colour", "size")]
    return Thing(words[0], words[1], words[2], int(raw["x"]), int(raw["y"]), int(raw["side"]))
