"""What a JSON body may hold of pictures: one, two, or the regions that somebody found in them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from vlp_server.http.fields import StrictFields

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_REGIONS_OBJECT = {
    "type": "object",
    "properties": {
        "boxes": {"type": "array", "items": _NUMBERS, "description": "x0, y0, x1, y1 of each region."},
        "features": {
            "anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array", "items": _NUMBERS}],
            "description": "Little-endian float32, region after region; or a list of numbers for each region.",
        },
        "scores": {**_NUMBERS, "description": "Confidence of each region, 0 to 1."},
        "box_format": {
            "enum": ["shares", "pixels"],
            "default": "shares",
            "description": "Of the picture's width and height; or pixels, which need both.",
        },
        "width": {"type": "number", "description": "Of the picture in pixels."},
        "height": {"type": "number", "description": "Of the picture in pixels."},
    },
    "required": ["boxes", "features"],
    "additionalProperties": False,
}
_REGIONS_SCHEMA = {"anyOf": [_REGIONS_OBJECT, {"type": "string", "contentEncoding": "base64"}]}
_REGIONS_TEXT = (
    "In place of the picture, for a model that reads region features: boxes with features (docs/regions.md), "
    "or an .npz file in base64."
)
_PAIR_TEXT = "The two pictures, left first; each base64, a data URI, or, where the operator allows it, an http(s) URL."


def _one_of(*names: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in names]})


class PictureField(StrictFields):
    """The picture of a JSON body."""

    image: Annotated[
        str,
        Field(description="The picture: base64, a data URI, or, where the operator allows it, an http(s) URL."),
    ]


class PictureOrRegionsFields(StrictFields):
    """The picture of a JSON body, or its regions."""

    model_config = _one_of("image", "regions")

    image: Annotated[
        str | None,
        Field(description="The picture: base64, a data URI, or, where the operator allows it, an http(s) URL."),
    ] = None
    regions: Annotated[Any, WithJsonSchema(_REGIONS_SCHEMA), Field(description=_REGIONS_TEXT)] = None


class PicturePairFields(StrictFields):
    """The two pictures of a JSON body, or their regions."""

    model_config = _one_of("images", "regions")

    images: Annotated[
        list[str] | None, Field(description=_PAIR_TEXT, json_schema_extra={"minItems": 2, "maxItems": 2})
    ] = None
    regions: Annotated[
        list[Any] | None,
        WithJsonSchema({"type": "array", "items": _REGIONS_SCHEMA, "minItems": 2, "maxItems": 2}),
        Field(description=_REGIONS_TEXT.replace("the picture,", "both pictures,", 1)),
    ] = None
