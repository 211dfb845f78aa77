"""A load test of a vlpserve server, for locust; see README.md beside this file.

    locust -f clients/loadtest/locustfile.py --headless --host http://127.0.0.1:8080 --rate 20 --run-time 60s

With `--rate` the loop is open, without it closed. `--tags vqa caption`, or names of users such as `VqaUser`, ask these
tasks alone. Locust ends with code 1 where a request failed or a bound was missed, with 2 where there is nothing to ask,
and with 3 where there is no server.
"""

from __future__ import annotations

from typing import Any

from locust import events

from vlp_loadtest.options import add_options
from vlp_loadtest.session import Session
from vlp_loadtest.users import (
    CaptionStreamUser,
    CaptionUser,
    ClassifyUser,
    EmbeddingsUser,
    EntailmentUser,
    GroundingUser,
    IndexUser,
    MatchUser,
    ReasoningUser,
    RegionsUser,
    SearchUser,
    VqaUser,
)

__all__ = [
    "CaptionStreamUser",
    "CaptionUser",
    "ClassifyUser",
    "EmbeddingsUser",
    "EntailmentUser",
    "GroundingUser",
    "IndexUser",
    "MatchUser",
    "ReasoningUser",
    "RegionsUser",
    "SearchUser",
    "VqaUser",
]

events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]


@events.init.add_listener  # type: ignore[untyped-decorator]
def listen(environment: Any, **_: Any) -> None:
    """Let a session follow the run."""
    session = Session(environment)
    session.prepare()
    environment.events.test_start.add_listener(lambda **_: session.count())
    environment.events.spawning_complete.add_listener(lambda **_: session.begin())
    environment.events.test_stopping.add_listener(lambda **_: session.halt())
    environment.events.quitting.add_listener(lambda **_: session.close())
