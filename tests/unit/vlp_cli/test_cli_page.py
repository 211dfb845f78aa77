from __future__ import annotations

from pathlib import Path

from vlp_cli.cli_page import cli_page
from vlp_cli.exit_codes import MEANINGS
from vlp_cli.main import COMMANDS

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_current() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == cli_page(), "run: vlpserve generate"


def test_every_command_and_every_exit_code_is_in_it() -> None:
    page = cli_page()
    for name, entry in COMMANDS.items():
        assert (f"\n### vlpserve {name}\n" in page) is not entry.hidden, name
    for code, meaning in MEANINGS.items():
        assert f"| {code} | {meaning} |" in page


def test_no_help_shows_the_marks_that_it_is_written_with() -> None:
    assert "\\b" not in cli_page()
