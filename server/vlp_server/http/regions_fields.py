"""The fields of POST /v1/regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from vlp_server.config.settings import LimitsConfig
from vlp_server.http.fields import CallFields
from vlp_server.http.picture_fields import PictureField
from vlp_server.http.picture_request import CallShape
from vlp_server.intake.texts import check_model


class RegionsFields(CallFields):
    """The fields of POST /v1/regions beside the picture."""

    features: Annotated[bool, Field(description="Whether the features of the regions are wanted, too.")] = False


class RegionsJson(RegionsFields, PictureField):
    """The JSON body of POST /v1/regions."""


@dataclass(frozen=True, slots=True)
class RegionsAsk:
    """What is wanted of a picture's regions; `model` None for the default model."""

    features: bool
    model: str | None


def ask_of(fields: RegionsFields, limits: LimitsConfig) -> RegionsAsk:
    """What checked fields ask.

    Raises:
        InvalidArgumentError, TooLargeError: a name that no model can have.
    """
    check_model(fields.model)
    return RegionsAsk(fields.features, fields.model)


REGIONS_CALL = CallShape(RegionsFields, RegionsJson, ask_of)
