from __future__ import annotations

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


@pytest.mark.parametrize("content", ["a: 1\n", "{}\n", "[1]\n", '{"vlp_client_journal": 2, "work": {}}\n'])
def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(JournalError):
        Journal(path, WORK)
    assert path.read_text() == content


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
