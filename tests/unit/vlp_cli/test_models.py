from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from vlp_cli.main import cli
from vlp_server.engines.dummy_deployment import build_dummy_deployment
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.repository import RepositoryLayout


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


def test_models_of_a_repository(tmp_path: Path, environ: dict[str, str]) -> None:
    manifest = RepositoryLayout(tmp_path / "mine").manifest("own", 1)
    manifest.parent.mkdir(parents=True)
    manifest.write_text(dump_deployment(build_dummy_deployment("own")))
    manifest.with_name("aliases.json").write_text('{"stable": 1}')
    arguments = ["models", "--repository", str(tmp_path / "mine")]
    table = CliRunner().invoke(cli, arguments, env=environ)
    listed = CliRunner().invoke(cli, [*arguments, "--json"], env=environ)
    assert table.exit_code == 0
    assert table.output.splitlines()[0].split() == ["model", "family", "tasks", "precision", "state", "where"]
    assert json.loads(listed.output)["data"][0] == {
        "id": "own@1",
        "name": "own",
        "version": 1,
        "family": "dummy",
        "tasks": ["vqa"],
        "precision": "fp32",
        "state": "on disk",
        "where": str(tmp_path / "mine"),
    }


def test_the_variable_names_the_server_that_is_asked_unless_the_disk_is_meant(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    environ["VLPSERVE_URL"] = "http://127.0.0.1:9"
    asked = CliRunner().invoke(cli, ["models"], env=environ)
    assert (asked.exit_code, "127.0.0.1:9" in asked.stderr) == (3, True)
    for arguments in (["--local"], ["--repository", str(tmp_path)]):
        found = CliRunner().invoke(cli, ["models", "--json", *arguments], env=environ)
        assert found.exit_code == 0
        assert "scenes-vilt-vqa" in [one["name"] for one in json.loads(found.output)["data"]]
        both = CliRunner().invoke(cli, ["models", "--url", "http://server", *arguments], env=environ)
        assert both.exit_code == 2


def test_a_server_that_is_not_there(environ: dict[str, str]) -> None:
    # Port 9 of the loopback: refused at once.
    done = CliRunner().invoke(cli, ["models", "--url", "http://127.0.0.1:9"], env=environ)
    assert done.exit_code == 3
    assert "is the server up?" in done.stderr
