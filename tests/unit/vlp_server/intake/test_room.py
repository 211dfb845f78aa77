from __future__ import annotations

import pytest
from vlp_server.intake.room import Room
from vlp_spec.errors import OverloadedError, UnavailableError


def test_only_so_many_are_inside() -> None:
    room = Room(max_requests=1, max_bytes=10)
    with room.enter():
        assert room.inside == 1
        with pytest.raises(OverloadedError), room.enter():
            pass
    with room.enter():
        pass
    assert room.inside == 0


def test_nobody_is_let_in_once_it_is_closing() -> None:
    room = Room(max_requests=1, max_bytes=10)
    room.closing = True
    with pytest.raises(UnavailableError), room.enter():
        pass


def test_bytes_that_are_given_back_can_be_held_by_others() -> None:
    told: list[int] = []
    room = Room(max_requests=3, max_bytes=10, changed=told.append)
    with room.enter() as take, room.enter() as take_other:
        take(8)
        with pytest.raises(OverloadedError):
            take_other(8)
        take(-8)
        take_other(8)
    assert told[-1] == 0
