from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from vlp_cli.main import cli


def test_scenes_are_written_and_the_bar_goes_to_standard_error(tmp_path: Path) -> None:
    counts = ["--train", "3", "--val", "1", "--test", "2", "--workers", "1", "--seed", "4"]
    done = CliRunner().invoke(cli, ["scenes", str(tmp_path / "data"), *counts])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "6/6" in done.stderr
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        records = [json.loads(line) for line in (tmp_path / "data" / f"{split}.jsonl").read_text().splitlines()]
        assert [record["id"] for record in records] == [f"{split}-{index:06d}" for index in range(count)]
        assert all((tmp_path / "data" / record["image"]).is_file() for record in records)


@pytest.mark.parametrize("arguments", [["--train", "-1"], ["--workers", "0"], []])
def test_a_wrong_command_line_writes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    root = [str(tmp_path / "data")] if arguments else []
    failed = CliRunner().invoke(cli, ["scenes", *root, *arguments])
    assert failed.exit_code == 2
    assert not (tmp_path / "data").exists()
