"""What docs/openai.md says of itself; its blocks are run by test_pages.py."""

from __future__ import annotations

import re

from page_blocks import blocks_of, text_of
from vlp_server.http.problems import STATUS
from vlp_spec.errors import ErrorKind


def test_every_call_of_print_says_what_it_prints() -> None:
    blocks = blocks_of("docs/openai.md")
    assert sum(len(block.promises) for block in blocks) == sum(block.text.count("print(") for block in blocks) > 4


def test_the_table_of_errors_is_that_of_the_door() -> None:
    rows = [row for row in text_of("docs/openai.md").splitlines() if re.match(r"\| \d{3}", row)]
    own = {"rate_limit_exceeded": "overloaded", "invalid_api_key": "unauthenticated"}
    known = {str(kind): status for kind, status in STATUS.items()}
    told: dict[str, int] = {}
    for row in rows:
        statuses, *_, codes = (cell.strip() for cell in row.strip("|").split("|"))
        for code in re.findall(r"`(\w+)`", codes):
            kind = own.get(code, code)
            assert str(known[kind]) in statuses, row
            told[kind] = known[kind]
    assert ErrorKind.INVALID_IMAGE in told
    assert len(told) == 15
