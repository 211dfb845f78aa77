from __future__ import annotations

from vlp_loadtest.closed_loop import ClosedLoop
from vlp_loadtest.measures import UNANSWERED


def test_what_is_under_way_at_the_end_is_counted_as_unanswered() -> None:
    loop = ClosedLoop()
    done, hung = loop.begin("vqa"), loop.begin("caption")
    loop.finish(done, loop.started + 1, loop.started + 2, None)
    loop.end(0)
    assert [(one.task, one.fault, one.done_s) for one in loop.measured] == [
        ("vqa", None, 2.0),
        ("caption", UNANSWERED, None),
    ]
    assert loop.over
    loop.finish(hung, loop.started, loop.started + 3, None)  # too late
    loop.end(0)
    assert len(loop.measured) == 2


def test_a_caller_that_is_taken_away_leaves_nothing() -> None:
    loop = ClosedLoop()
    loop.forget(loop.begin("vqa"))
    loop.end(60)
    assert loop.measured == []


def test_the_next_run_begins_anew() -> None:
    loop = ClosedLoop()
    loop.end(0)
    loop.start()
    assert not loop.over
    assert loop.begin("vqa").due_s >= 0
