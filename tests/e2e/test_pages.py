"""Every block of the documentation is run, or stands in one list with the reason why it is not.

Blocks of `sh` and `python` are run from top to bottom of their page, against one server of the shipped models; a block
of `text` behind one of them is what it prints.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import httpx
import pytest
from blocks_not_run import NOT_RUN
from page_blocks import ROOT, RUN, Block, blocks_of, is_as_told, pages, text_of
from page_reader import PageReader, Printed
from server_process import ServerProcess
from vlp_server.config import resolve_config
from vlp_server.config.report import config_rows

# What pages that serve something by themselves serve in the place of the shipped models, for the time that it takes.
STAND_IN = {"docs/access.md": ("dummy",)}
# What a block must print, in small letters, where the page says it in other words than the block's own.
SAID: dict[tuple[str, str], tuple[str, ...]] = {
    ("docs/access.md", "KEY=$(vlpserve keys new laptop"): ('"object":"list"', "answer"),
    ("docs/access.md", "vlpserve keys new nightly"): (
        "rate=2000 burst=20000 concurrency=8000",
        "ratelimit-limit: 5000",
        "ratelimit-remaining: 4",
    ),
    ("docs/access.md", "vlpserve keys list keys.txt"): ("revoked laptop",),
    ("docs/access.md", "vlpserve serve --access-log"): (
        '"request_id": "order-17"',
        '"questions": ["what is it?"]',
        '"task": "vqa"',
    ),
    ("docs/access.md", "vlpserve serve --set http.cors"): ("access-control-allow-origin: https://example.org",),
    ("docs/oip.md", "curl http://127.0.0.1:8080/v2/models"): (
        "onnxruntime_onnx",
        '"scenes-blip.caption"',
        "a purple boat",
    ),
    ("docs/oip.md", "import queue"): ("boat",),
}
# Pages of which another test runs every block.
OTHER_TESTS = {"clients/python/README.md": "tests/e2e/test_client_readme.py"}
LISTED = 25


def is_generated_help(block: Block) -> bool:
    """Whether it is a help text, which tests/unit/vlp_cli/test_cli_page.py proves current."""
    return block.page == "docs/cli.md" and block.language == "text" and block.first.startswith("Usage: vlpserve")


def is_output(block: Block) -> bool:
    return block.is_output


def is_of_another_test(block: Block) -> bool:
    return block.page in OTHER_TESTS


def is_listed(block: Block) -> bool:
    return any(block.first.startswith(first) for first in NOT_RUN.get(block.page, {}))


def is_run(block: Block) -> bool:
    return block.language in RUN and not is_of_another_test(block) and not is_listed(block)


def run_pages() -> list[str]:
    return [page for page in pages() if any(is_run(block) for block in blocks_of(page))]


@pytest.mark.parametrize("page", run_pages())
def test_a_page_does_what_it_says(page: str, shipped: ServerProcess, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    with PageReader(tmp_path, shipped, *STAND_IN.get(page, ())) as reader:
        told = Printed()
        for block in blocks:
            if block.is_output:
                assert is_as_told(block.text, told.out), f"{page}:{block.line}: it prints\n{told.out}"
            if not is_run(block):
                continue
            told = reader.run(block)
            for (named, first), words in SAID.items():
                if named == page and block.first.startswith(first):
                    assert [one for one in words if one not in "".join(told).lower()] == [], told


def test_the_python_of_the_first_page_is_the_same_over_grpc(shipped: ServerProcess, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of("docs/getting-started.md") if block.language == "python"]
    with PageReader(tmp_path, shipped, over_grpc=True) as reader:
        told = [reader.run(block) for block in blocks]
    assert len(told) > 10
    shipped_client = reader.names["client"]
    assert "grpc://" in repr(shipped_client)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "print(1)  # 2\n"),
        ("python", "raise RuntimeError\n"),
        ("sh", "curl http://127.0.0.1:8080/v1/models/nobody\n"),
        ("sh", "vlpserve ask nothing.jpg 'what?'\ntrue\n"),
    ],
)
def test_a_block_that_fails_or_prints_something_else_is_seen(
    language: str, text: str, shipped: ServerProcess, tmp_path: Path
) -> None:
    with PageReader(tmp_path, shipped) as reader, pytest.raises((AssertionError, RuntimeError)):
        reader.run(Block("a page", 1, language, text))


def test_every_block_is_run_or_listed() -> None:
    blocks = [block for page in pages() for block in blocks_of(page)]
    assert len(blocks) > 80
    forgotten = [
        f"{block.page}:{block.line}: {block.first}"
        for block in blocks
        if not any(told(block) for told in (is_run, is_listed, is_output, is_of_another_test, is_generated_help))
    ]
    assert forgotten == [], "make it `sh` or `python`, or say in tests/support/blocks_not_run.py why it cannot be run"


def test_the_list_names_each_block_once_and_is_no_longer_than_known() -> None:
    for page, listed in NOT_RUN.items():
        for first, reason in listed.items():
            found = [block for block in blocks_of(page) if block.first.startswith(first)]
            assert len(found) == 1, (page, first)
            assert len(reason) > 15
            for path in re.findall(r"(?:tests|clients)/[\w/.]+\w", reason):
                assert (ROOT / path).exists(), reason
    assert sum(map(len, NOT_RUN.values())) == LISTED


def test_what_a_block_must_print_is_said_of_blocks_that_there_are() -> None:
    for page, first in SAID:
        assert any(is_run(block) and block.first.startswith(first) for block in blocks_of(page)), (page, first)


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    """Paths of the repository that a page names are there."""
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page)):
        assert (here / target).exists(), target
    for path in re.findall(r"`(docs/[\w/.-]+\.\w+|clients/[\w/.-]+\.\w+|tests/[\w/.-]+\.\w+)`", text_of(page)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", pages())
def test_settings_and_figures_that_a_page_names_are_there(page: str, shipped: ServerProcess) -> None:
    text = text_of(page)
    settings = {name for name, *_ in config_rows(resolve_config({}, {}))}
    sections = "|".join({name.partition(".")[0] for name in settings if "." in name})
    named = set(re.findall(rf"`((?:{sections})\.[a-z_*]+)(?: = [^`]*)?`", text))
    assert {name for name in named if not fnmatch.filter(settings, name)} == set()
    figures = httpx.get(f"{shipped.url}/metrics", trust_env=False).text
    counted = {name.removesuffix("_total") for name in re.findall(r"^# TYPE (\w+)", figures, re.MULTILINE)}
    told = {name.removesuffix("_total") for name in re.findall(r"`(vlpserve_[a-z_]+)`", text)}
    assert told <= counted


@pytest.mark.parametrize(
    ("told", "got", "same"),
    [
        ("a  0.998  ...", "a 0.9981 ####", True),
        ("a 0.998", "a 0.900", False),
        ('{"a": 0.1, ...}', '{"a": 0.11, "b": [2]}', True),
        ("two words", "two words more", False),
        ("scene-1.jpg", "scene-2.jpg", False),
    ],
)
def test_what_counts_as_the_same_output(told: str, got: str, same: bool) -> None:
    assert is_as_told(told, got) is same
