from __future__ import annotations

import errno
from pathlib import Path

import pytest
from vlp_client import JournalError
from vlp_client.journal import Journal

WORK = {"verb": "embed", "model": None}
A, B = "aa" * 16, "bb" * 16


def test_what_is_kept_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    large = "x" * 200_000
    with Journal(path, WORK) as journal:
        assert journal.get(A) is None
        journal.put(A, "m@1", {"n": 1})
        journal.put(B, "m@1", large)
        assert (journal.get(A), journal.get(B)) == ({"n": 1}, large)
    with Journal(path, WORK) as journal:
        assert (len(journal), journal.get(A), journal.get(B)) == (2, {"n": 1}, large)


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.journal"
    with Journal(path, WORK) as journal:
        journal.put(A, "m@1", 1)
        journal.put(B, "m@1", 2)
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, WORK) as journal:
        assert (journal.get(A), journal.get(B)) == (1, None)
        journal.put(B, "m@1", 3)
    with Journal(path, WORK) as journal:
        assert (journal.get(A), journal.get(B)) == (1, 3)


def test_a_process_that_was_killed_in_the_first_line_leaves_an_empty_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    Journal(path, WORK).close()
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path, WORK) as journal:
        journal.put(A, "m@1", 1)
    with Journal(path, WORK) as journal:
        assert journal.get(A) == 1


def test_another_run_may_not_use_it_at_the_same_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", WORK), pytest.raises(JournalError, match="another run uses it"):
        Journal(tmp_path / "j", WORK)
    Journal(tmp_path / "j", WORK).close()


def test_a_journal_of_other_work_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "j", WORK).close()
    with pytest.raises(JournalError, match="of other work"):
        Journal(tmp_path / "j", {**WORK, "model": "m@2"})


@pytest.mark.parametrize("kept", [0, 1, 10, 30])
def test_a_beginning_of_a_first_line_is_a_journal_without_items(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "run.journal"
    Journal(path, WORK).close()
    path.write_bytes(path.read_bytes()[:kept])
    Journal(path, WORK).close()
    assert path.read_bytes().endswith(b"}\n")


OTHERS = ['{"my": "annotations", "n": [1, 2, 3]}', '{"my": 1}', "words", "[1]", "\n", '{"vlp_client"}']


@pytest.mark.parametrize("content", [*OTHERS, "a: 1\n", "{}\n", "[1]\n", '{"vlp_client_journal": 2, "work": {}}\n'])
def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(JournalError):
        Journal(path, WORK)
    assert path.read_text() == content


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_has_journals_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr("vlp_client.journal.fcntl.flock", refuse)
    with Journal(tmp_path / "j", WORK) as journal:
        journal.put(A, "m@1", 1)
        assert (journal.get(A), journal.model) == (1, "m@1")


def test_a_line_that_is_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, WORK) as journal:
        journal.put(A, "m@1", 1)
    path.write_text(path.read_text() + "damaged\n")
    with pytest.raises(JournalError, match="line 3"):
        Journal(path, WORK)


def test_values_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", WORK) as journal:
        journal.put(A, "m@1", 1)
    with Journal(tmp_path / "j", WORK) as journal, pytest.raises(JournalError, match="written by m@1, now m@2 answers"):
        journal.put(B, "m@2", 2)


def test_what_was_there_already_is_no_models_work(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", WORK) as journal:
        journal.put(A, None, 1)
        journal.put(B, "m@1", 2)
        journal.put("cc" * 16, None, 3)
    with Journal(tmp_path / "j", WORK) as journal, pytest.raises(JournalError, match="written by m@1"):
        journal.put(B, "m@2", 2)
