from __future__ import annotations

import json

import pytest
from vlp_loadtest.shown import one_line, shown_url
from vlp_loadtest.task_requests import Request, fault_of

REQUEST = Request("vqa", "/v1/vqa", b"", "", "answers")


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb\x1b[2J", "a b [2J"), ("für alle", "für alle"), ("x" * 501, "x" * 500 + "…")]
)
def test_what_came_from_elsewhere_is_one_line_that_steers_no_terminal(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize("problem", [{"kind": "\x1b[31mbad"}, {"error": {"code": "\x1b[31mbad"}}])
def test_a_kind_is_shown_as_it_may_be(problem: object) -> None:
    assert fault_of(REQUEST, 400, json.dumps(problem).encode()) == " [31mbad"
    long = json.dumps({"kind": "x" * 10_000}).encode()
    assert len(fault_of(REQUEST, 400, long) or "") < 200


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("https://[::1]:8080/", "https://[::1]:8080/"),
        ("http://user:s3cret@host:80/a.jpg?token=s3cret#s3cret", "http://host:80/a.jpg"),
        ("http://host?token=s3cret", "http://host"),
        ("user:s3cret@host/a", "host/a"),
        ("http://user:s3cret/s3cret@host", "http://user"),
        ("http://user:s3cret?x@host", "http://user"),
        ("http://host/\x1b[2J", "http://host/ [2J"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown
