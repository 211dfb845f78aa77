"""What comes with a request to a task model, and what goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Lane
from vlp_spec.triton_names import IMAGE


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """What came with one request, as it was sent.

    Attributes:
        images: encoded pictures.
        texts: see task_wire.
        options: JSON, or nothing.
        deadline: seconds on the service's clock; None: the service's own default.
        lane: bulk requests wait behind interactive ones.
    """

    images: Sequence[bytes]
    texts: Sequence[str]
    options: bytes = b""
    deadline: float | None = None
    lane: Lane = Lane.INTERACTIVE

    @property
    def size_bytes(self) -> int:
        """Of its pictures."""
        return sum(map(len, self.images))

    def one_image(self) -> bytes:
        """The picture of a task on one.

        Raises:
            InvalidArgumentError: none, or several.
        """
        if len(self.images) != 1:
            raise InvalidArgumentError(f"{IMAGE}: got {len(self.images)} pictures, expected 1", field=IMAGE)
        return self.images[0]


@dataclass(frozen=True, slots=True)
class TaskReply:
    """What is sent back.

    Attributes:
        answers: the best answer to each text, in words.
        results: JSON.
        arrays: further outputs.
    """

    answers: Sequence[str]
    results: Sequence[bytes]
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)
