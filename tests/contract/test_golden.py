"""Models reproduce the reference arrays: every array of every set in the folder that --golden names.

A set is a folder with meta.json; the class that it names chooses the adapter (`golden_<family>.py` beside this
file, found by its table ADAPTERS). A set that no adapter knows fails, and so does an array that its adapter does
not know.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from golden_case import PRECISIONS, Adapter, Check, GoldenCase, faults_of


def _adapters() -> dict[str, Adapter]:
    modules = sorted(path.stem for path in Path(__file__).parent.glob("golden_*.py"))
    found: dict[str, Adapter] = {}
    for name in modules:
        found |= getattr(importlib.import_module(name), "ADAPTERS", {})
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"golden_set", "outputs_file"} <= set(metafunc.fixturenames):
        root: Path = metafunc.config.getoption("--golden")
        pairs = [
            (path.parent, file)
            for path in sorted(root.glob("*/meta.json"))
            for file in PRECISIONS
            # The single-precision file belongs to every set: where it is missing, the set fails.
            if file == "outputs.npz" or (path.parent / file).exists()
        ]
        ids = [f"{path.name}-{file.removesuffix('.npz')}" for path, file in pairs]
        metafunc.parametrize(("golden_set", "outputs_file"), pairs, ids=ids)


def test_every_array_is_reproduced(golden_set: Path, outputs_file: str) -> None:
    case = GoldenCase(golden_set, outputs_file)
    adapters = _adapters()
    name = case.meta.get("class")
    assert name in adapters, f"{golden_set.name}: no adapter for the class {name!r}; known: {sorted(adapters)}"
    with torch.no_grad():
        checks = adapters[name](case)
    faults = faults_of(case, checks)
    assert not faults, f"{golden_set.name}, {outputs_file}:\n" + "\n".join(faults)


def test_the_folder_has_sets(pytestconfig: pytest.Config) -> None:
    root: Path = pytestconfig.getoption("--golden")
    assert list(root.glob("*/meta.json")), f"{root}: no set with a meta.json"


def test_a_wrong_array_an_unknown_one_and_a_missing_one_are_faults(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "meta.json").write_text(json.dumps({"class": "Any"}))
    np.savez(tmp_path / "outputs.npz", right=np.ones(2), wrong=np.ones(2), nan=np.ones(2), shape=np.ones(2), new=1.0)
    checks = {
        "right": Check([1, 1 + 4e-5]),
        "wrong": Check([1, 1 + 6e-5]),
        "nan": Check([1, float("nan")]),
        "shape": Check([1.0]),
        "gone": Check(0),
    }
    faults = faults_of(GoldenCase(tmp_path, "outputs.npz"), checks)
    assert sorted(fault.split(":")[0] for fault in faults) == ["gone", "nan", "new", "shape", "wrong"]
