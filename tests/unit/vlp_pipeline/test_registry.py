import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from vlp_pipeline.registry import PIPELINES, build_pipeline
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError


@pytest.mark.parametrize("entry", list(PIPELINES.values()))
def test_every_entry_exists(entry: tuple[str, str]) -> None:
    module, name = entry
    assert callable(getattr(importlib.import_module(module), name).from_deployment)


def test_an_unknown_family(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"tiny-vilt@1: no pipeline for family 'uniter', task vqa; .* vilt vqa"):
        build_pipeline(dataclasses.replace(deployment, family="uniter"), tmp_path)


def test_no_task(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="names no task"):
        build_pipeline(dataclasses.replace(deployment, tasks=()), tmp_path)


def test_families_and_torch_are_not_imported_with_the_registry() -> None:
    code = (
        "import sys, vlp_pipeline.registry\n"
        "assert 'vlp_pipeline.vilt_vqa' not in sys.modules\n"
        "import vlp_pipeline.vilt_vqa\n"
        "loaded = {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
