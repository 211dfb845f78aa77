"""What README promises to someone who has just cloned, asked of the real server with the shipped model."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from server_process import ServerProcess

ROOT = Path(__file__).parents[2]


def test_the_first_question_of_the_readme_gets_the_answer_that_it_names(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = next(line for line in readme.splitlines() if line.startswith("curl "))
    promised = re.search(r"first of `answers` is `([^`]+)`", readme)
    assert promised is not None
    words = shlex.split(command)
    fields = dict(after.split("=", 1) for word, after in zip(words, words[1:], strict=False) if word == "-F")
    picture = ROOT / fields.pop("image").removeprefix("@")
    with ServerProcess(tmp_path) as server:
        url = httpx.URL(words[-1]).copy_with(port=server.port)
        reply = httpx.post(url, files={"image": picture.read_bytes()}, data=fields, timeout=60, trust_env=False)
    assert reply.status_code == 200, reply.text
    assert reply.json()["answers"][0]["answer"] == promised[1]


def test_the_search_of_the_readme_finds_the_picture_that_it_names(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme.splitlines()
    index = shlex.split(next(line for line in lines if line.startswith("vlpserve index ")))[1:]
    search = shlex.split(next(line for line in lines if line.startswith("curl ") and "/search" in line))
    promised = re.search(r"first of `hits` is `([^`]+)`", readme)
    assert promised is not None
    with ServerProcess(tmp_path) as server:
        command = [sys.executable, "-m", "vlp_cli", *index, "--url", server.url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        url = httpx.URL(search[-1]).copy_with(port=server.port)
        body = json.loads(search[search.index("-d") + 1])
        reply = httpx.post(url, json=body, timeout=60, trust_env=False)
        again = httpx.post(url, json=body | {"rerank": {}}, timeout=60, trust_env=False)
    assert reply.status_code == again.status_code == 200, reply.text + again.text
    assert reply.json()["hits"][0]["id"] == again.json()["hits"][0]["id"] == promised[1]
    scores = [hit["rerank_score"] for hit in again.json()["hits"]]
    assert again.json()["reranked_by"] == "scenes-itm@1"
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.5 > scores[1]


def test_the_captions_of_the_readme_are_the_one_that_it_names_and_a_stream(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = re.search(r"first of `captions` is `([^`]+)`", readme)
    assert promised is not None
    whole, streamed = [line for line in readme.splitlines() if line.startswith("curl ") and "/v1/caption" in line]
    with ServerProcess(tmp_path) as server:
        caption = send(whole, server.port)["captions"][0]["text"]
        again = send(streamed.replace("-F stream=true", ""), server.port)["captions"][0]["text"]
        seen_anew = send(streamed.replace("-F stream=true", "-F min_tokens=1"), server.port)["captions"][0]["text"]
        events = receive(streamed.replace("-F stream=true", "-F stream=true -F min_tokens=2"), server.port)
    assert caption == promised[1]
    assert again == seen_anew
    *pieces, (last, document) = events
    assert last == "done"
    assert {name for name, _ in pieces} == {"message"}
    assert len(pieces) > 3
    assert "".join(piece["text"] for _, piece in pieces) == document["captions"][0]["text"] == again


def test_the_judgements_of_the_readme_are_those_that_it_names(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    samples = re.search(r"^SAMPLES=(\S+)$", readme, re.MULTILINE)
    assert samples is not None
    told = readme[readme.index("<!-- sample-judgements -->") :]
    label, truth = re.search(r"`label` is\s+`(\w+)`", told), re.search(r"second one's is\s+`(\w+)`", told)
    box = re.search(r"box of about\s+\[([\d., ]+)\]", told)
    assert label is not None
    assert truth is not None
    assert box is not None
    lines = [line for line in readme.splitlines() if line.startswith("curl ") and "$SAMPLES" in line]
    with ServerProcess(tmp_path) as server:
        replies = [send(line.replace("$SAMPLES", samples[1]), server.port) for line in lines]
    entailed, reasoned, pointed = replies
    assert entailed["label"] == label[1]
    assert reasoned["label"] is (truth[1] == "true")
    found, expected = pointed["boxes"][0]["box"], [float(side) for side in box[1].split(",")]
    assert max(abs(got - wanted) for got, wanted in zip(found, expected, strict=True)) < 0.05


def send(command: str, port: int) -> dict[str, Any]:
    """What a curl line with form fields gets."""
    words = shlex.split(command)
    fields = [after.split("=", 1) for word, after in zip(words, words[1:], strict=False) if word == "-F"]
    files = [("image", (ROOT / value.removeprefix("@")).read_bytes()) for name, value in fields if name == "image"]
    data = {name: value for name, value in fields if name != "image"}
    url = httpx.URL(words[-1]).copy_with(port=port)
    reply = httpx.post(url, files=files, data=data, timeout=60, trust_env=False)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def receive(command: str, port: int) -> list[tuple[str, dict[str, Any]]]:
    """The events that a curl line with form fields gets: name and document."""
    words = shlex.split(command)
    data = dict(after.split("=", 1) for word, after in zip(words, words[1:], strict=False) if word == "-F")
    picture = (ROOT / data.pop("image").removeprefix("@")).read_bytes()
    url = httpx.URL(words[-1]).copy_with(port=port)
    reply = httpx.post(url, files={"image": picture}, data=data, timeout=60, trust_env=False)
    assert reply.headers["content-type"].startswith("text/event-stream")
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in reply.text.split("\n\n") if block]
    return [(block.get("event", "message"), json.loads(block["data"])) for block in blocks]
