"""An HTTP request -> its pictures and what is asked of them, for the three ways to send them. The same for every task.

A picture may be sent as what somebody has found in it already: its regions, with their features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vlp_pipeline.regions import FIELD as REGIONS
from vlp_pipeline.regions import Regions
from vlp_spec.errors import InvalidArgumentError

from vlp_server.access.prices import Weight, pictures_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.http.body_forms import IMAGE, BodyForms, Files, Pairs, read_body
from vlp_server.http.call import Call
from vlp_server.http.fields import CallFields, both_forms, fields_from_pairs
from vlp_server.http.pictures import read_source
from vlp_server.http.sent_regions import sent_regions
from vlp_server.intake.picture_source import PictureUrl, check_not_empty
from vlp_server.intake.texts import placed

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class CallShape(Generic[A]):
    """What the calls of one task hold.

    Attributes:
        fields: beside the pictures, as a form and a query string have them.
        json: the same with the pictures, as a JSON body has them: `image`, or `images` where there are two.
        ask: checked fields -> what is asked; refuses what is over a limit.
        pictures: that a call is about: 1, or 2, of which a form repeats `image`.
        needs_picture: whether a call without any is refused.
        takes_regions: whether `regions` may stand in the place of the pictures.
        weigh: what is asked of how many pictures -> what it costs.
    """

    fields: type[CallFields]
    json: type[CallFields]
    ask: Callable[[Any, LimitsConfig], A]
    pictures: int = 1
    needs_picture: bool = True
    takes_regions: bool = False
    weigh: Callable[[A, int], Weight] = lambda ask, pictures: pictures_weight(pictures)

    @property
    def image_field(self) -> str:
        """Name of the field of a JSON body that holds the pictures."""
        return IMAGE if self.pictures == 1 else f"{IMAGE}s"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the file fields of a form."""
        return (IMAGE, REGIONS) if self.takes_regions else (IMAGE,)


@dataclass(frozen=True, slots=True)
class SentCall(Generic[A]):
    """A call that was read.

    Attributes:
        ask: what is asked.
        images: encoded pictures, or where they are to be fetched from, in their order.
        regions: in the place of all of these, in their order.
    """

    ask: A
    images: tuple[bytes | PictureUrl, ...]
    regions: tuple[Regions, ...]

    @property
    def pictures(self) -> tuple[bytes | PictureUrl, ...] | tuple[Regions, ...]:
        """What the call is about, whichever was sent."""
        return self.images or self.regions

    @property
    def picture(self) -> bytes | PictureUrl | Regions:
        """The same, of a call about one."""
        return self.pictures[0]


async def read_call(call: Call, shape: CallShape[A], limits: LimitsConfig) -> SentCall[A]:
    """Read a call.

    Returns:
        as many pictures, or regions, as the shape says; or none where it needs none.

    Raises:
        RequestError: of any kind; OverloadedError, DeadlineError or ProblemError as `BodyStream.chunks`.
    """

    async def of_json(fields: CallFields) -> SentCall[A]:
        images, regions = _listed(fields, shape.image_field, shape), _listed(fields, REGIONS, shape)
        _check_counts(shape, shape.image_field, len(images), len(regions))
        ask = shape.ask(fields, limits)
        call.charge(shape.weigh(ask, len(images) or len(regions)))
        return SentCall(ask, await _read_images(images), await _read_regions(regions, limits, call))

    async def of_files(files: Files, pairs: Pairs) -> SentCall[A]:
        images, regions = files[IMAGE], files.get(REGIONS, [])
        _check_counts(shape, IMAGE, len(images), len(regions))
        ask = shape.ask(fields_from_pairs(shape.fields, pairs), limits)
        call.charge(shape.weigh(ask, len(images) or len(regions)))
        return SentCall(ask, tuple(map(check_not_empty, images)), await _read_regions(regions, limits, call))

    forms: BodyForms[CallFields, SentCall[A]] = BodyForms(
        json=shape.json,
        of_json=of_json,
        of_files=of_files,
        max_parts=limits.multipart_parts,
        form=f"{'a file field' if shape.pictures == 1 else 'two file fields'} 'image'",
        query="the other fields" if shape.pictures == 1 else None,
        files=shape.files,
    )
    return await read_body(call.request, call.body, forms)


def _listed(fields: CallFields, name: str, shape: CallShape[Any]) -> list[Any]:
    """The values of a field that holds one, or a list where the call is about several pictures."""
    value = getattr(fields, name, None)
    if value is None:
        return []
    return [value] if shape.pictures == 1 else list(value)


async def _read_images(sources: Sequence[str]) -> tuple[bytes | PictureUrl, ...]:
    images = []
    for index, source in enumerate(sources):
        try:
            images.append(await read_source(source))
        except InvalidArgumentError as error:
            place = IMAGE if len(sources) == 1 else f"{IMAGE}s[{index}]"
            raise placed(error, IMAGE, place) from error
    return tuple(images)


async def _read_regions(contents: Sequence[Any], limits: LimitsConfig, call: Call) -> tuple[Regions, ...]:
    return tuple([await sent.read(limits, call.take) for sent in sent_regions(contents)])


def _check_counts(shape: CallShape[Any], name: str, images: int, regions: int) -> None:
    """Refuse another number of pictures than the shape says.

    Args:
        name: of the field that holds the pictures.
        images: how many there are.
        regions: how many stand in their place.

    Raises:
        InvalidArgumentError: another number, or both pictures and regions.
    """
    if images and regions:
        raise both_forms(name, REGIONS)
    one = shape.pictures == 1
    if not images and not regions:
        if shape.needs_picture:
            wanted = "the picture" if one else "both pictures, left first"
            instead = f", or `{REGIONS}` in {'its' if one else 'their'} place" if shape.takes_regions else ""
            raise InvalidArgumentError(f"{name}: missing; send {wanted}{instead}", field=name)
        return
    given, at_fault = (images, name) if images else (regions, REGIONS)
    if given != shape.pictures:
        expected = "one" if one else "two, left first"
        raise InvalidArgumentError(f"{at_fault}: got {given} of them, expected {expected}", field=at_fault)
