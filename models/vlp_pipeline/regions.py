"""Regions of a picture with their features, as a detector gives them: the record, and what it must hold.

Source of the position features and of how regions are selected: ChenRocks/UNITER @1dbfa62, data/data.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np
from vlp_spec.errors import InvalidArgumentError, TooLargeError

FIELD = "regions"
# How far a box may reach beyond the picture, as a share of its side: rounding to float16, or by a resized picture.
BOX_TOLERANCE = 1e-3
# How far stored widths and heights may be from those of the boxes: some detectors count the last pixel as well.
_SIDE_TOLERANCE = 0.02
_PROBABILITY_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class RegionLimits:
    """What a picture's regions may be.

    Attributes:
        feature_width: numbers of a region's features, as the model has it (2048 for UNITER); None takes any.
        max_regions: regions of a picture; with more it is refused.
        max_bytes: of a file, and of the arrays in it as float32.
    """

    feature_width: int | None = None
    max_regions: int = 100
    max_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        if min(self.max_regions, self.max_bytes, 1 if self.feature_width is None else self.feature_width) < 1:
            raise ValueError(f"region limits: expected 1 or more; got {self}")


DEFAULT_REGION_LIMITS = RegionLimits()


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Regions of one picture, made by `check_regions`; its arrays are read-only and C-contiguous.

    Attributes:
        boxes: (R, 4) float32, x0, y0, x1, y1 as shares of the picture's width and height, 0 to 1.
        features: (R, F) float32.
        positions: (R, 7) float32, of `region_positions`, from the boxes as they were given.
        scores: (R,) float32, the detector's confidence, 0 to 1; None where it is not known.
        class_probabilities: (R, C) float32, 0 to 1, class 0 the background; None where they are not known.
    """

    boxes: np.ndarray
    features: np.ndarray
    positions: np.ndarray
    scores: np.ndarray | None = None
    class_probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def size_bytes(self) -> int:
        """Memory that the arrays take."""
        return sum(array.nbytes for _, array in self._arrays())

    def first(self, count: int) -> Regions:
        """The first `count` regions, or all where there are fewer; arrays are shared.

        Raises:
            ValueError: count is below 1.
        """
        if count < 1:
            raise ValueError(f"count {count}, expected 1 or more")
        if count >= len(self):
            return self
        return replace(self, **{name: array[:count] for name, array in self._arrays()})

    def digest(self) -> str:
        """sha256 in hex of everything that the record holds: the key of caches, together with the model."""
        state = hashlib.sha256(b"vlpserve regions 1")
        for name, array in self._arrays():
            state.update(f"|{name} {array.shape}|".encode())
            state.update(np.ascontiguousarray(array, dtype="<f4").data)
        return state.hexdigest()

    def _arrays(self) -> list[tuple[str, np.ndarray]]:
        found = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, array) for name, array in found if array is not None]


def region_positions(boxes: np.ndarray, sides: np.ndarray | None = None) -> np.ndarray:
    """UNITER's position features.

    Args:
        boxes: (R, 4) float32, shares x0, y0, x1, y1.
        sides: (R, 2) float32, shares width and height, where a file has them; else they are the boxes' own.

    Returns:
        (R, 7) float32: x0, y0, x1, y1, width, height, width * height.
    """
    if sides is None:
        sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes, sides, sides[:, :1] * sides[:, 1:]], axis=1)


def check_regions(
    boxes: np.ndarray,
    features: np.ndarray,
    *,
    sides: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    class_probabilities: np.ndarray | None = None,
    limits: RegionLimits = DEFAULT_REGION_LIMITS,
) -> Regions:
    """Make the record of arrays that anybody may have sent; they are copied.

    Args:
        boxes: (R, 4) shares x0, y0, x1, y1; what is beyond the picture by rounding is clipped.
        features: (R, F).
        sides: (R, 2) shares width and height where a file has them besides; the positions then keep them as they are.
        scores: (R,) or (R, 1).
        class_probabilities: (R, C).
        limits: what the record may be.

    Raises:
        InvalidArgumentError: another rank, dtype, length or width, no region, a number that is not finite, a box that
            is inverted, empty or outside the picture, a probability that is none; of field "regions".
        TooLargeError: more regions or bytes than the limits allow.
    """
    if scores is not None and np.ndim(scores) == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    given = {"boxes": boxes, "features": features, "sides": sides, "scores": scores}
    given["class_probabilities"] = class_probabilities
    present = {name: array for name, array in given.items() if array is not None}
    _check_shapes(present, limits)
    checked = {name: _finite_float32(name, array) for name, array in present.items()}
    own = checked["boxes"]
    clipped = np.clip(own, 0, 1)
    _check_boxes(own, clipped, checked.get("sides"))
    record = Regions(
        clipped,
        checked["features"],
        region_positions(own, checked.get("sides")),
        _probabilities("scores", checked),
        _probabilities("class_probabilities", checked),
    )
    for _, array in record._arrays():
        array.setflags(write=False)
    return record


def count_selected(scores: np.ndarray, *, max_regions: int = 100, min_regions: int = 10, min_score: float = 0.2) -> int:
    """How many of a picture's regions are used: those above `min_score`, but within the two bounds.

    Args:
        scores: (R,) float; the most confident come first.
        max_regions: at most so many.
        min_regions: at least so many, though it may be more than there are.
        min_score: what a score must exceed; -1 takes all up to `max_regions`.
    """
    return min(max_regions, max(min_regions, int(np.count_nonzero(scores > min_score))))


def select_regions(
    regions: Regions, *, max_regions: int = 100, min_regions: int = 10, min_score: float = 0.2
) -> Regions:
    """The first regions, as many as `count_selected` says; without scores the first `max_regions`.

    Raises:
        ValueError: the bounds are below 1, or cross.
    """
    if not 1 <= min_regions <= max_regions:
        raise ValueError(f"expected 1 <= min_regions <= max_regions, got {min_regions} and {max_regions}")
    if regions.scores is None:
        return regions.first(max_regions)
    return regions.first(
        count_selected(regions.scores, max_regions=max_regions, min_regions=min_regions, min_score=min_score)
    )


def invalid_regions(message: str, *, detail: str | None = None) -> InvalidArgumentError:
    """The error of the field "regions"; the message goes on after "regions: "."""
    return InvalidArgumentError(f"{FIELD}: {message}", field=FIELD, detail=detail)


_WIDTHS = {"boxes": 4, "sides": 2}


def _check_shapes(arrays: dict[str, np.ndarray], limits: RegionLimits) -> None:
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise invalid_regions(f"{name}: got {got}, expected an array of real numbers")
        check_region_shape(name, array.shape, limits)
    check_counts({name: array.shape[0] for name, array in arrays.items()})
    size = 4 * sum(array.size for array in arrays.values())
    if size > limits.max_bytes:
        raise TooLargeError(f"{FIELD}: {size} bytes of float32, at most {limits.max_bytes} are accepted")


def check_region_shape(name: str, shape: tuple[int, ...], limits: RegionLimits) -> None:
    """Check the shape of one array of a record before it is read.

    Args:
        name: "boxes", "sides", "features", "scores" or "class_probabilities".
        shape: what a file or array says.
        limits: what it may be.

    Raises:
        InvalidArgumentError: another rank or width, or no region.
        TooLargeError: more regions than the limit.
    """
    rank = 1 if name == "scores" else 2
    width = limits.feature_width if name == "features" else _WIDTHS.get(name)
    if len(shape) != rank or min(shape) < 0 or (width is not None and shape[1] != width):
        expected = "(regions,)" if rank == 1 else f"(regions, {'any' if width is None else width})"
        raise invalid_regions(f"{name}: got shape {shape}, expected {expected}")
    if shape[0] == 0:
        raise invalid_regions(f"{name}: 0 regions, at least 1 is needed")
    if rank == 2 and shape[1] == 0:
        raise invalid_regions(f"{name}: got shape {shape}, expected at least one number a region")
    if shape[0] > limits.max_regions:
        raise TooLargeError(f"{FIELD}: {shape[0]} regions, at most {limits.max_regions} are accepted")


def check_counts(counts: dict[str, int]) -> None:
    """Check that all arrays are of the same regions.

    Args:
        counts: array's name -> its regions.

    Raises:
        InvalidArgumentError: they differ.
    """
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise invalid_regions(f"arrays of different lengths: {told}; each needs one row a region")


def _finite_float32(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused as such
        copied = np.array(array, dtype=np.float32, order="C")
    faulty = ~np.isfinite(copied)
    if faulty.any():
        row = int(np.argwhere(faulty)[0][0])
        raise invalid_regions(f"{name}: region {row} has NaN or a number that is not finite in float32")
    return copied


def _check_boxes(given: np.ndarray, clipped: np.ndarray, sides: np.ndarray | None) -> None:
    outside = np.abs(given - clipped).max(axis=1) > BOX_TOLERANCE
    if outside.any():
        row = int(np.argmax(outside))
        raise invalid_regions(
            f"boxes: box {row} is {_told(given[row])}, expected shares of width and height, 0 to 1 (x0, y0, x1, y1)"
        )
    empty = (clipped[:, :2] >= clipped[:, 2:]).any(axis=1)
    if empty.any():
        row = int(np.argmax(empty))
        raise invalid_regions(f"boxes: box {row} is {_told(given[row])}, expected x0 < x1 and y0 < y1")
    if sides is None:
        return
    wrong = (np.abs(sides - (given[:, 2:] - given[:, :2])).max(axis=1) > _SIDE_TOLERANCE) | (sides <= 0).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise invalid_regions(f"sides: those of box {row}, {_told(given[row])}, are given as {_told(sides[row])}")


def _told(numbers: np.ndarray) -> str:
    return f"({', '.join(f'{number:.6g}' for number in numbers.tolist())})"


def _probabilities(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    if name not in arrays:
        return None
    clipped: np.ndarray = np.clip(arrays[name], 0, 1)
    faulty = np.abs(arrays[name] - clipped) > _PROBABILITY_TOLERANCE
    if faulty.any():
        row = int(np.argwhere(faulty)[0][0])
        raise invalid_regions(f"{name}: region {row} has {arrays[name][faulty][0]:.6g}, expected 0 to 1")
    return clipped
