from __future__ import annotations

import logging
import resource

import pytest
from vlp_server.http.open_files import make_room_for

NO_BOUND = resource.RLIM_INFINITY


class Limits:
    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard

    def get(self, what: int) -> tuple[int, int]:
        assert what == resource.RLIMIT_NOFILE
        return self.soft, self.hard

    def set(self, what: int, pair: tuple[int, int]) -> None:
        if self.hard != NO_BOUND and pair[0] > self.hard:
            raise ValueError("not allowed")
        self.soft, self.hard = pair


@pytest.mark.parametrize(
    ("soft", "hard", "after", "warned"),
    [
        (1024, NO_BOUND, 2320, False),
        (1024, 4096, 2320, False),
        (1024, 2000, 2000, True),
        (65536, 65536, 65536, False),
        (NO_BOUND, NO_BOUND, NO_BOUND, False),
    ],
)
def test_as_many_files_as_connections_need(
    soft: int, hard: int, after: int, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    with caplog.at_level(logging.WARNING):
        make_room_for(1500, 500)
    assert (limits.soft, limits.hard) == (after, hard)
    assert bool(caplog.records) is warned


def test_where_the_system_refuses_it_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(what: int, pair: tuple[int, int]) -> None:
        raise OSError("no")

    monkeypatch.setattr(resource, "getrlimit", Limits(100, NO_BOUND).get)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    make_room_for(2000)
    assert "this process may have 100 (ulimit -n)" in caplog.text
