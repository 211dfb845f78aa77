"""The fields of POST /v1/classify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import PLACEHOLDER, ClassifyQuery

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_texts
from vlp_server.http.fields import CallFields, one_or_several
from vlp_server.http.picture_fields import PictureField
from vlp_server.http.picture_request import CallShape
from vlp_server.intake.texts import check_model


class ClassifyFields(CallFields):
    """The fields of POST /v1/classify beside the picture."""

    PLURALS: ClassVar[Mapping[str, str]] = {"label": "labels", "template": "templates"}

    label: Annotated[str | None, Field(description="The only label; usually there are `labels`.")] = None
    labels: Annotated[list[str] | None, Field(description="What to choose among; any words.")] = None
    template: Annotated[
        str | None,
        Field(description="What is said of a label, with {} for it, such as 'a photo of a {}.'; default the label."),
    ] = None
    templates: Annotated[
        list[str] | None,
        Field(description="Several templates in place of `template`; the mean of a label's vectors counts."),
    ] = None


class ClassifyJson(ClassifyFields, PictureField):
    """The JSON body of POST /v1/classify."""


@dataclass(frozen=True, slots=True)
class ClassifyAsk:
    """What is asked of one picture; `model` None for the default model."""

    query: ClassifyQuery
    model: str | None


def ask_of(fields: ClassifyFields, limits: LimitsConfig) -> ClassifyAsk:
    """The query that checked fields make.

    Raises:
        InvalidArgumentError: no labels, one of them empty or twice, or a template without its place.
        TooLargeError: more or longer texts than the limits allow.
    """
    labels = one_or_several("label", fields.label, "labels", fields.labels)
    templates = one_or_several("template", fields.template, "templates", fields.templates)
    if labels is None:
        raise InvalidArgumentError("labels: missing; give the labels to choose among", field="labels")
    check_model(fields.model)
    check_texts("labels", labels, limits.labels, limits.label_chars)
    check_texts("templates", templates or (), limits.templates, limits.text_chars)
    query = ClassifyQuery(tuple(labels), (PLACEHOLDER,) if templates is None else tuple(templates))
    return ClassifyAsk(query, fields.model)


CLASSIFY_CALL = CallShape(
    ClassifyFields, ClassifyJson, ask_of, weigh=lambda ask, pictures: queries_weight([ask.query], pictures)
)
