"""What README promises in words of its blocks, which test_pages.py runs, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_blocks import Block, blocks_of, text_of
from page_reader import PageReader
from server_process import ServerProcess

README = text_of("README.md")


@pytest.fixture
def reader(shipped: ServerProcess, tmp_path: Path) -> Iterator[PageReader]:
    with PageReader(tmp_path, shipped) as reader:
        yield reader


def block_with(words: str) -> Block:
    (found,) = [block for block in blocks_of("README.md") if block.language == "sh" and words in block.text]
    return found


def promised(pattern: str) -> str:
    found = re.search(pattern, README)
    assert found is not None, pattern
    return found[1]


def documents(printed: str) -> list[dict[str, Any]]:
    """The JSON documents among the lines."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def events(printed: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream among the lines: name and document."""
    found = re.findall(r"^(?:event: (\w+)\n)?data: (\{.*\})$", printed, re.MULTILINE)
    return [(name or "message", json.loads(data)) for name, data in found]


def test_the_first_question_gets_the_answer_that_it_names(reader: PageReader) -> None:
    (answer,) = documents(reader.run(block_with("/v1/vqa")).out)
    assert answer["answers"][0]["answer"] == promised(r"first of `answers` is `([^`]+)`")


def test_make_serve_serves_without_arguments() -> None:
    """Which the reader of the pages takes for granted."""
    assert "\n\t$(SERVE)/vlpserve serve\n" in (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")


def test_the_search_finds_the_picture_that_it_names(reader: PageReader) -> None:
    block = block_with("/search")
    (found,) = documents(reader.run(block).out)
    again = Block(block.page, block.line, block.language, block.text.replace('"k": 3', '"k": 3, "rerank": {}'))
    (anew,) = documents(reader.run(again).out)
    assert found["hits"][0]["id"] == anew["hits"][0]["id"] == promised(r"first of `hits` is `([^`]+)`")
    scores = [hit["rerank_score"] for hit in anew["hits"]]
    assert anew["reranked_by"] == "scenes-itm@1"
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.5 > scores[1]


def test_the_captions_are_the_one_that_it_names_and_a_stream(reader: PageReader) -> None:
    block = block_with("/v1/caption")
    printed = reader.run(block).out
    unstreamed = block.text.replace("-F stream=true", "-F min_tokens=1")
    anew = documents(reader.run(Block(block.page, block.line, block.language, unstreamed)).out)
    assert documents(printed)[0]["captions"][0]["text"] == promised(r"first of `captions` is `([^`]+)`")
    *pieces, (last, document) = events(printed)
    assert last == "done"
    assert {name for name, _ in pieces} == {"message"}
    assert len(pieces) > 3
    told = "".join(piece["text"] for _, piece in pieces)
    assert told == document["captions"][0]["text"] == anew[1]["captions"][0]["text"]


def test_the_judgements_are_those_that_it_names(reader: PageReader) -> None:
    entailed, reasoned, pointed = documents(reader.run(block_with("/v1/entailment")).out)
    assert entailed["label"] == promised(r"`label` is\s+`(\w+)`")
    assert reasoned["label"] is (promised(r"second one's is\s+`(\w+)`") == "true")
    expected = [float(side) for side in promised(r"box of about\s+\[([\d., ]+)\]").split(",")]
    found = pointed["boxes"][0]["box"]
    assert max(abs(got - wanted) for got, wanted in zip(found, expected, strict=True)) < 0.05
