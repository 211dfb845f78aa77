from __future__ import annotations

from pathlib import Path

from vlp_server.config import resolve_config
from vlp_server.config.report import config_page, config_rows, config_table

DOCS = Path(__file__).parents[4] / "docs"


def test_the_page_is_current() -> None:
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == config_page(), "run: vlpserve generate"


def test_the_table_shows_value_and_source() -> None:
    resolved = resolve_config({"url_fetch.ports": "80,81"}, {"VLPSERVE_HTTP_PORT": "0", "HOME": "/home/a"})
    lines = [line.split(maxsplit=2) for line in config_table(resolved).splitlines()]
    assert ["http.port", "0", "environment VLPSERVE_HTTP_PORT"] in lines
    assert ["url_fetch.ports", "80,81", "flag"] in lines
    assert ["url_fetch.enabled", "false", "default"] in lines
    assert ["http.cors_origins", "-", "default"] in lines
    rows = {name: value for name, value, _ in config_rows(resolved)}
    assert rows["url_fetch.ports"] == [80, 81]
    assert rows["models.store"] == "/home/a/.local/share/vlpserve/repository"


def test_a_secret_is_shown_to_nobody() -> None:
    resolved = resolve_config({"store.milvus_token": "root:psst"}, {})
    table = config_table(resolved)
    assert "psst" not in table
    (line,) = [line for line in table.splitlines() if line.startswith("store.milvus_token ")]
    assert line.split()[1:] == ["***", "flag"]
    assert "psst" not in repr(resolved.config)
