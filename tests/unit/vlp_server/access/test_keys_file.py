from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path

import pytest
from vlp_server.access.keys import Role, new_key, parse_keys
from vlp_server.access.keys_file import MAX_BYTES, add_key, read_entries, remove_key
from vlp_spec.errors import ConfigError

A, B = "a" * 64, "b" * 64
TEXT = f"# the team\n\nlaptop:read:{A}  # Ada's\n  robot:write:{B}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def names(path: Path) -> list[str]:
    return [key.name for key in parse_keys(read_entries(path))]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_comments_and_empty_lines_are_passed_over(file: Path) -> None:
    assert [(entry.where, entry.text) for entry in read_entries(file)] == [
        (f"{file}, line 3", f"laptop:read:{A}"),
        (f"{file}, line 4", f"robot:write:{B}"),
    ]


@pytest.mark.parametrize("rights", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(file: Path, rights: int) -> None:
    file.chmod(rights)
    with pytest.raises(ConfigError, match="other users may write it"):
        read_entries(file)


@pytest.mark.parametrize(("rights", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o444, True)])
def test_a_file_that_everybody_may_read_is_warned_of(
    file: Path, rights: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(rights)
    with caplog.at_level(logging.WARNING):
        assert names(file) == ["laptop", "robot"]
    assert ("can be read by every user" in caplog.text) == warned


def test_what_is_no_keys_file(tmp_path: Path) -> None:
    pipe, folder, large, binary = (tmp_path / name for name in ("pipe", "folder", "large", "binary"))
    os.mkfifo(pipe, 0o600)
    folder.mkdir()
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    binary.write_bytes(b"\xff\xfe")
    for path, words in (
        (pipe, "expected a plain file"),
        (folder, "expected a plain file"),
        (large, "over 1048576 bytes"),
        (binary, "not text in UTF-8"),
        (tmp_path / "nothing", "No such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_entries(path)


def test_a_key_is_added_and_the_rest_stays(file: Path) -> None:
    _, record = new_key("third", Role.ADMIN)
    add_key(file, record)
    assert file.read_text() == f"{TEXT}\n{record.line}\n"
    assert [path.name for path in file.parent.iterdir()] == ["keys.txt"]


def test_a_new_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    umask = os.umask(0)
    try:
        add_key(path, new_key("first", Role.READ)[1])
    finally:
        os.umask(umask)
    assert mode(path) == 0o600
    assert names(path) == ["first"]


def test_rights_and_link_of_a_file_stay(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(file)
    add_key(link, new_key("third", Role.READ)[1])
    assert link.is_symlink()
    assert mode(file) == 0o640
    assert names(file) == ["laptop", "robot", "third"]


def test_a_name_that_is_there_is_not_added(file: Path) -> None:
    with pytest.raises(ConfigError, match="the name 'laptop' is given already"):
        add_key(file, new_key("laptop", Role.READ)[1])
    assert file.read_text() == TEXT


def test_a_key_is_taken_out_and_the_rest_stays(file: Path) -> None:
    remove_key(file, "laptop")
    assert file.read_text() == f"# the team\n\n  robot:write:{B}"
    remove_key(file, "robot")
    assert file.read_text() == "# the team\n\n"
    with pytest.raises(ConfigError, match="there is no key of this name"):
        remove_key(file, "robot")


def test_a_file_at_fault_is_not_changed(file: Path, tmp_path: Path) -> None:
    file.write_text("nonsense\n")
    with pytest.raises(ConfigError, match="line 1: expected NAME:ROLE:SHA256"):
        remove_key(file, "laptop")
    with pytest.raises(ConfigError, match="line 1: expected NAME:ROLE:SHA256"):
        add_key(file, new_key("third", Role.READ)[1])
    assert file.read_text() == "nonsense\n"
    with pytest.raises(ConfigError, match="No such file"):
        remove_key(tmp_path / "nothing", "laptop")
    with pytest.raises(ConfigError, match="No such file"):
        add_key(tmp_path / "no" / "folder", new_key("third", Role.READ)[1])


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    threads = [
        threading.Thread(target=add_key, args=(path, new_key(f"key-{number}", Role.READ)[1])) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(path)) == [f"key-{number}" for number in range(8)]
