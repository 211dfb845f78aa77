"""Image processor settings of CLIP, SigLIP and BLIP, as transformers writes them, to ours and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlp_pipeline.clip_image import RESAMPLING, ClipImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.families.dual_encoder_config import CLIP_MEAN, CLIP_STD, HALF

Triple = tuple[float, float, float]
PictureKind = Literal["clip", "siglip", "blip"]
_PROCESSORS: dict[PictureKind, str] = {
    "clip": "CLIPImageProcessor",
    "siglip": "SiglipImageProcessor",
    "blip": "BlipImageProcessor",
}
_DUAL = ("CLIPImageProcessor", "CLIPFeatureExtractor", "SiglipImageProcessor")
_KNOWN: dict[PictureKind, tuple[str, ...]] = {"clip": _DUAL, "siglip": _DUAL, "blip": ("BlipImageProcessor",)}
_PIXELS: dict[PictureKind, tuple[Triple, Triple]] = {
    "clip": (CLIP_MEAN, CLIP_STD),
    "siglip": (HALF, HALF),
    "blip": (CLIP_MEAN, CLIP_STD),
}
_RESCALE = 1 / 255
# PIL's numbers of the methods, as transformers stores them.
_NUMBERS = {int(method): name for name, method in RESAMPLING.items()}


@dataclass(frozen=True)
class PictureSettings:
    """What a preprocessor_config.json says.

    Attributes:
        image: the form of `Deployment.image`.
        mean: of the channels after division by 255; the graph subtracts it.
        std: likewise.
    """

    image: ClipImageSettings
    mean: Triple
    std: Triple


def read_picture_settings(directory: Path, kind: PictureKind, image_size: int) -> PictureSettings:
    """Read preprocessor_config.json, or the image processor's part of processor_config.json.

    Without either, the published settings of the kind hold for the model's image size.

    Raises:
        ArtifactError: lists what the processor cannot follow, or a result of another size than the model's.
    """
    path, values = _find(directory)
    faults = [
        f"{key} is {values[key]!r}, only {only!r} is supported"
        for key, only in (("do_resize", True), ("do_rescale", True), ("do_convert_rgb", True))
        if values.get(key, only) != only and not (key == "do_convert_rgb" and values[key] is None)
    ]
    name = values.get("image_processor_type", values.get("feature_extractor_type", _PROCESSORS[kind]))
    if str(name).removesuffix("Fast").removesuffix("Pil") not in _KNOWN[kind]:
        faults.append(f"image_processor_type is {name!r}, supported: {', '.join(_KNOWN[kind])}")
    factor, resample = values.get("rescale_factor", _RESCALE), values.get("resample", 3)
    if not isinstance(factor, int | float) or abs(factor - _RESCALE) > 1e-7:
        faults.append(f"rescale_factor is {factor!r}, only 1/255 is supported")
    if not isinstance(resample, int) or resample not in _NUMBERS:
        faults.append(f"resample is {values['resample']!r}, expected one of {sorted(_NUMBERS)}")
    if faults:
        raise ArtifactError(f"{path}: {'; '.join(faults)}")
    try:
        image = _image(values, kind, image_size)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if (image.height, image.width) != (image_size, image_size):
        raise ArtifactError(
            f"{path}: pictures become {image.width}x{image.height} pixels, the model reads {image_size}x{image_size}"
        )
    return PictureSettings(image, *_normalisation(values, kind, path))


def write_picture_settings(pictures: PictureSettings, kind: PictureKind) -> dict[str, Any]:
    """The content of a preprocessor_config.json that transformers reads as the same processor."""
    image = pictures.image
    exact = {"height": image.height, "width": image.width}
    return {
        "image_processor_type": _PROCESSORS[kind],
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": image.shortest_edge} if image.shortest_edge else exact,
        "resample": int(RESAMPLING[image.resample]),
        **({"do_center_crop": bool(image.shortest_edge), "crop_size": exact} if kind == "clip" else {}),
        "do_rescale": True,
        "rescale_factor": _RESCALE,
        "do_normalize": True,
        "image_mean": list(pictures.mean),
        "image_std": list(pictures.std),
    }


def _image(values: Mapping[str, Any], kind: PictureKind, image_size: int) -> ClipImageSettings:
    """Settings of the resize and crop; raises ValueError."""
    cropped = bool(values.get("do_center_crop", kind == "clip"))
    square = {"height": image_size, "width": image_size}
    size = values.get("size", {"shortest_edge": image_size} if kind == "clip" else square)
    shortest = size if isinstance(size, int) else size.get("shortest_edge") if isinstance(size, dict) else None
    resample = _NUMBERS[values.get("resample", 3)]
    if shortest is None:
        if cropped and _sides(values.get("crop_size", square), "crop_size") != _sides(size, "size"):
            raise ValueError("a picture that is resized on both sides and then cropped is not supported")
        height, width = _sides(size, "size")
        return ClipImageSettings(height, width, resample=resample)
    if not cropped:
        raise ValueError(f"size is {size!r} without a centre crop: pictures of one size are needed")
    height, width = _sides(values.get("crop_size", square), "crop_size")
    return ClipImageSettings(height, width, int(shortest), resample)


def _sides(size: Any, key: str) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if not isinstance(size, dict) or not all(isinstance(size.get(side), int) for side in ("height", "width")):
        raise ValueError(f"{key} is {size!r}: expected height and width in pixels")
    return int(size["height"]), int(size["width"])


def _normalisation(values: Mapping[str, Any], kind: PictureKind, path: Path) -> tuple[Triple, Triple]:
    if not values.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    triples = []
    for key, default in zip(("image_mean", "image_std"), _PIXELS[kind], strict=True):
        numbers = values.get(key, default)
        if not isinstance(numbers, list | tuple) or len(numbers) != 3:
            raise ArtifactError(f"{path}: {key} is {numbers!r}, expected three numbers")
        triples.append((float(numbers[0]), float(numbers[1]), float(numbers[2])))
    return triples[0], triples[1]


def _find(directory: Path) -> tuple[Path, dict[str, Any]]:
    path = directory / "preprocessor_config.json"
    if path.is_file():
        return path, read_json_object(path)
    path = directory / "processor_config.json"
    if path.is_file():
        part = read_json_object(path).get("image_processor", {})
        return path, part if isinstance(part, dict) else {}
    return directory / "preprocessor_config.json", {}
