from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from vlp_cli.main import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["keys", *map(str, arguments)])


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_a_key_for_a_file_that_somebody_else_keeps() -> None:
    done = run("new", "laptop", "--role", "write")
    assert done.exit_code == 0
    key = done.stdout.removesuffix("\n")
    assert key.isprintable()
    assert f"\nlaptop:write:{digest(key)}\n" in done.stderr


def test_keys_of_a_file_from_first_to_last(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    first, second = run("new", "laptop", "--file", file), run("new", "robot", "--role", "admin", "--file", file)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().splitlines() == [
        f"laptop:read:{digest(first.stdout.strip())}",
        f"robot:admin:{digest(second.stdout.strip())}",
    ]
    listed = run("list", file)
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["name", "role", "quota"],
        ["laptop", "read"],
        ["robot", "admin"],
    ]
    assert digest(first.stdout.strip()) not in listed.output
    assert run("revoke", file, "laptop").exit_code == 0
    assert [line.split() for line in run("list", file).stdout.splitlines()][1:] == [["robot", "admin"]]
    assert run("revoke", file, "robot").exit_code == 0
    assert "no keys" in run("list", file).stdout


def test_a_key_with_a_quota_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    made = run("new", "laptop", "--rate", "50", "--concurrency", "0", "--file", file)
    assert made.exit_code == 0
    assert file.read_text() == f"laptop:read:{digest(made.stdout.strip())}:rate=50:concurrency=0\n"
    (line,) = run("list", file).stdout.splitlines()[1:]
    assert line.split() == ["laptop", "read", "rate=50", "concurrency=0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", "a b"), "the name of the key: expected 1 to 40"),
        (("new", "laptop", "--role", "root"), "'root' is not one of 'read', 'write', 'admin'"),
        (("new", "laptop", "--file", "FILE"), "the name 'laptop' is given already"),
        (("revoke", "FILE", "robot"), "there is no key of this name"),
        (("new", "laptop", "--rate", "-1"), "-1.0 is not in the range"),
        (("list", "FILE.not"), "the keys file cannot be read"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_shows_no_key(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    run("new", "laptop", "--file", file)
    done = run(*(argument.replace("FILE", str(file)) for argument in arguments))
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""
