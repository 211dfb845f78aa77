"""What the door and the SDK say of a text that was matched: always a probability, a cosine where there is one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from asgi_bridge import AsgiBridge, LoopThread
from vlp_client import Client, ProtocolError, TextScore
from vlp_server.config import ServerConfig
from vlp_server.core.records import QueryReply, Timings
from vlp_server.http.app import create_app
from vlp_spec.tasks import MatchResult


class Matcher:
    """Answers every call with the same result."""

    def __init__(self, result: MatchResult) -> None:
        self._result = result

    async def match(self, image: Any, queries: Any, **options: Any) -> QueryReply[MatchResult]:
        return QueryReply("m@1", [self._result for _ in queries], Timings())


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (MatchResult(0.75), {"score": 0.75, "itm": 0.75}),
        (MatchResult(0.75, itm=0.5, itc=0.0, rank_score=1.25), {"score": 0.75, "itm": 0.5, "itc": 0.0}),
        (MatchResult(0.5, itc=-0.25), {"score": 0.5, "itm": 0.5, "itc": -0.25}),
    ],
)
def test_scores_are_shown_where_they_are(result: MatchResult, shown: dict[str, float]) -> None:
    loop = LoopThread()
    bridge = AsgiBridge(create_app(Matcher(result), ServerConfig()), loop)  # type: ignore[arg-type]
    with httpx.Client(base_url="http://server", transport=bridge) as http:
        raw = http.post("/v1/match", files={"image": b"x"}, data={"text": "a"}).json()
    with Client("http://server", transport=bridge) as client:
        told = client.match(b"x", ["a", "b"]).scores
    loop.close()
    assert raw == {"model": "m@1", "scores": [{"text": "a", **shown}]}
    assert told == tuple(TextScore(text, shown["score"], shown["itm"], shown.get("itc")) for text in ("a", "b"))


def test_a_score_that_is_no_number_is_none_of_this_api() -> None:
    body = {"model": "m@1", "scores": [{"text": "a", "itm": 0.5, "itc": "x", "score": 0.5}]}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    with Client("http://server", transport=transport) as client, pytest.raises(ProtocolError):
        client.match(b"x", ["a"])
