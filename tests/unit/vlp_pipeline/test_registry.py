import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from vlp_pipeline.registry import PIPELINES, build_pipeline
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task


@pytest.mark.parametrize("entry", list(PIPELINES.values()))
def test_every_entry_exists(entry: tuple[str, str]) -> None:
    module, name = entry
    assert callable(getattr(importlib.import_module(module), name).from_deployment)


def test_an_unknown_family(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"tiny-vilt@1: no pipeline for family 'flamingo', task vqa; .* vilt vqa"):
        build_pipeline(dataclasses.replace(deployment, family="flamingo"), tmp_path)


def test_a_family_that_does_not_do_the_task(deployment: Deployment, tmp_path: Path) -> None:
    for family, task in (("vilt", Task.REGIONS), ("uniter", Task.REGIONS), ("faster_rcnn", Task.VQA)):
        with pytest.raises(
            ArtifactError, match=f"no pipeline for family '{family}', task {task}; there are: vilt vqa, "
        ):
            build_pipeline(dataclasses.replace(deployment, family=family, tasks=(task,)), tmp_path)


def test_tasks_of_one_family_share_no_pipeline_but_where_a_model_does_both() -> None:
    shared = [entry for entry in PIPELINES.values() if list(PIPELINES.values()).count(entry) > 1]
    assert {name for _, name in shared} == {"DualEncoderPipeline"}
    assert {task for family, task in PIPELINES if family == "uniter"} == {
        *(Task.VQA, Task.MATCH, Task.ENTAILMENT, Task.REASONING, Task.GROUNDING),
    }


def test_no_task(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="names no task"):
        build_pipeline(dataclasses.replace(deployment, tasks=()), tmp_path)


def test_families_and_torch_are_not_imported_with_the_registry() -> None:
    code = (
        "import sys, vlp_pipeline.registry\n"
        "families = {'vilt_vqa', 'uniter_tasks', 'detector_pipeline', 'dual_encoder', 'blip_inputs'}\n"
        "assert not {f'vlp_pipeline.{name}' for name in families} & set(sys.modules)\n"
        "import vlp_pipeline.vilt_vqa, vlp_pipeline.uniter_tasks, vlp_pipeline.detector_pipeline\n"
        "import vlp_pipeline.blip_caption, vlp_pipeline.blip_match\n"
        "loaded = {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
