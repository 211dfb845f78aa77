"""The model.py files: a few lines between Triton and our code."""

import ast
import os
import runpy
import sys
import types
from pathlib import Path

import pytest
from vlp_export.triton_model import GRAPH_MODEL, SITE_VARIABLE, TASK_MODEL
from vlp_server.triton.graph_model import GraphModel
from vlp_server.triton.task_model import TaskModel

BOTH = [(GRAPH_MODEL, GraphModel), (TASK_MODEL, TaskModel)]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The module that is there inside Triton, and the path as it is there, to be changed."""
    module = types.ModuleType("triton_python_backend_utils")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv(SITE_VARIABLE, raising=False)
    return module


def run(folder: Path, text: str) -> type:
    (folder / "model.py").write_text(text)
    return runpy.run_path(str(folder / "model.py"))["TritonPythonModel"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("text", "parent"), BOTH)
def test_triton_finds_a_model_of_ours_that_has_the_backend(
    tmp_path: Path, backend: types.ModuleType, text: str, parent: type
) -> None:
    before = sys.path[:]
    kind = run(tmp_path, text)
    assert issubclass(kind, parent)
    assert kind()._backend is backend  # Triton makes it without arguments
    assert all(callable(getattr(kind, name)) for name in ("initialize", "execute", "finalize"))
    assert sys.path == before


@pytest.mark.parametrize(("text", "parent"), BOTH)
def test_named_folders_of_packages_go_first_with_what_they_point_to(
    tmp_path: Path, backend: types.ModuleType, monkeypatch: pytest.MonkeyPatch, text: str, parent: type
) -> None:
    one, two, clone = (tmp_path / name for name in ("one", "two", "clone"))
    for folder in (one, two, clone):
        folder.mkdir()
    (two / "clone.pth").write_text(f"{clone}\n")  # as an installation from a clone has it
    monkeypatch.setenv(SITE_VARIABLE, os.pathsep.join(map(str, (one, two))))
    before = sys.path[:]
    assert issubclass(run(tmp_path, text), parent)
    assert sys.path == [*map(str, (one, two, clone)), *before]


@pytest.mark.parametrize("text", [GRAPH_MODEL, TASK_MODEL])
def test_they_say_what_they_are_and_who_wrote_them(text: str) -> None:
    about = ast.get_docstring(ast.parse(text)) or ""
    assert "vlpserve triton-repository" in about
    assert "do not edit" in about
