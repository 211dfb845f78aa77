"""The messages of a chat -> the picture and the text that the last one asks about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vlp_spec.errors import InvalidArgumentError

from vlp_server.http.pictures import read_source
from vlp_server.intake.picture_source import PictureUrl
from vlp_server.intake.texts import placed

_USER = "user"
_ROLES = (_USER, "assistant", "system", "developer", "tool", "function")
_MAX_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """What is asked.

    Attributes:
        picture: as it was sent, or where it is to be fetched from.
        picture_place: where in the body, such as messages[0].content[1].image_url.url.
        text: without space at its ends; empty where the picture is to be described.
        text_place: likewise.
        unread: indices of the messages that have no part in it.
    """

    picture: bytes | PictureUrl
    picture_place: str
    text: str
    text_place: str
    unread: tuple[int, ...]

    @contextmanager
    def placed_faults(self) -> Iterator[None]:
        """Faults of the picture and of the text name their places in the body, whatever the task calls them."""
        places = {
            "image": self.picture_place,
            **dict.fromkeys(("question", "prompt", "text"), self.text_place),
        }
        try:
            yield
        except InvalidArgumentError as error:
            if error.field not in places:
                raise
            raise placed(error, error.field, places[error.field]) from error


@dataclass(frozen=True, slots=True)
class _Content:
    """The texts of one message, and its pictures with their places."""

    texts: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]


async def read_turn(messages: Any) -> ChatTurn:
    """What the last message asks, about its picture or else the one that the user sent last before.

    Raises:
        InvalidArgumentError: not a list of messages; the last one is not the user's, or no picture is in sight.
        RequestError: a picture that cannot be read; see `pictures`.
    """
    checked = [_message(message, f"messages[{index}]") for index, message in enumerate(_listed(messages))]
    last = len(checked) - 1
    role, asked = checked[last]
    if role != _USER:
        raise _fault(f"messages[{last}]", f"the last message is of the role {role!r}, expected {_USER!r}")
    shown = next(
        (index for index in range(last, -1, -1) if checked[index][0] == _USER and checked[index][1].pictures), None
    )
    if shown is None:
        raise _fault("messages", "no picture; put an image_url part into the user's message")
    pictures = checked[shown][1].pictures
    if len(pictures) > 1:
        raise _fault(f"messages[{shown}].content", f"got {len(pictures)} pictures, expected one")
    source, place = pictures[0]
    text_place = f"messages[{last}].content"
    text = "\n".join(part for part in asked.texts if part.strip()).strip()
    unread = tuple(index for index in range(last) if index != shown)
    turn = ChatTurn(b"", place, text, text_place, unread)
    with turn.placed_faults():
        return ChatTurn(await read_source(source), place, text, text_place, unread)


def _listed(messages: Any) -> Sequence[Any]:
    if not isinstance(messages, list) or not messages:
        raise _fault("messages", "expected a list of at least one message")
    if len(messages) > _MAX_MESSAGES:
        raise _fault("messages", f"got {len(messages)}, at most {_MAX_MESSAGES} are taken; only the last is answered")
    return messages


def _message(message: Any, place: str) -> tuple[str, _Content]:
    """Role and content."""
    role = _object(message, place).get("role")
    if role not in _ROLES:
        raise _fault(f"{place}.role", f"got {role!r:.40}, expected one of {', '.join(_ROLES)}")
    content = message.get("content")
    if content is None and role != _USER:
        return role, _Content((), ())
    if isinstance(content, str):
        return role, _Content((content,), ())
    if not isinstance(content, list):
        raise _fault(f"{place}.content", "expected a text, or a list of parts")
    if role != _USER:
        return role, _Content((), ())  # not read; what its parts may be is the other side's business
    return role, _parts(content, f"{place}.content")


def _parts(parts: Sequence[Any], place: str) -> _Content:
    texts: list[str] = []
    pictures: list[tuple[str, str]] = []
    for index, part in enumerate(parts):
        here = f"{place}[{index}]"
        kind = _object(part, here).get("type")
        if kind == "text":
            texts.append(_text(part, "text", here))
        elif kind == "image_url":
            inner = f"{here}.image_url"
            pictures.append((_text(_object(part.get("image_url"), inner), "url", inner), f"{inner}.url"))
        else:
            raise _fault(f"{here}.type", f"got {kind!r:.40}, expected text or image_url")
    return _Content(tuple(texts), tuple(pictures))


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _fault(place, f"got a JSON {type(value).__name__}, expected an object")
    return value


def _text(values: Mapping[str, Any], name: str, place: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise _fault(f"{place}.{name}", "missing, or not a text")
    return value


def _fault(place: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{place}: {message}", field=place)
