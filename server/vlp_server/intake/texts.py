"""Checks of the texts of a call, the same for every door."""

from __future__ import annotations

from vlp_spec.errors import InvalidArgumentError

from vlp_server.core.call_checks import check_text

_MAX_MODEL_CHARS = 300


def placed(error: InvalidArgumentError, name: str, place: str) -> InvalidArgumentError:
    """The fault of a value that is one of several, under its own place, such as texts[1]."""
    return InvalidArgumentError(error.message.replace(name, place, 1), field=place, detail=error.detail)


def check_model(model: str | None) -> None:
    """Refuse a name that no model can have.

    Raises:
        InvalidArgumentError, TooLargeError: empty, or too long.
    """
    if model is not None and not model.strip():
        raise InvalidArgumentError("model: empty; leave it out for the default model", field="model")
    if model is not None:
        check_text("model", model, _MAX_MODEL_CHARS)
