from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from vlp_cli.main import cli


def test_every_value_and_its_source(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[http]\nport = 81\n")
    environ = {"VLPSERVE_HTTP_HOST": "0.0.0.0"}
    done = CliRunner().invoke(cli, ["config", "check", str(file), "--set", "log.level=debug"], env=environ)
    assert done.exit_code == 0
    rows = [line.split(maxsplit=2) for line in done.output.splitlines()]
    assert ["http.port", "81", str(file)] in rows
    assert ["http.host", "0.0.0.0", "environment VLPSERVE_HTTP_HOST"] in rows
    assert ["log.level", "debug", "flag"] in rows


def test_json() -> None:
    done = CliRunner().invoke(cli, ["config", "check", "--json"])
    assert json.loads(done.output)["http.port"] == {"value": 8080, "source": "default"}


def test_all_faults_and_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[http]\nport = "80a"\n')
    done = CliRunner().invoke(cli, ["config", "check", str(file)], env={"VLPSERVE_LOG_ACCESS": "maybe"})
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 2
    assert "expected an integer" in done.stderr
    assert "expected true or false" in done.stderr


def test_set_needs_a_value() -> None:
    done = CliRunner().invoke(cli, ["config", "check", "--set", "http.port"])
    assert done.exit_code == 2
    assert "expected NAME=VALUE" in done.stderr


def test_an_option_and_set_may_not_contradict() -> None:
    done = CliRunner().invoke(cli, ["serve", "--port", "1", "--set", "http.port=2"])
    assert done.exit_code == 2
    assert "an option of its own says otherwise" in done.stderr
