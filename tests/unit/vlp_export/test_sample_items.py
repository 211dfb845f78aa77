from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tiny_regions import EXTRACTOR, MAX_REGIONS, tiny_detector_config, write_detector, write_uniter, write_vilt_reasoner
from vlp_export.module_runs import run_module
from vlp_export.plan import ExportPlan
from vlp_export.plans import own_task, plan_export
from vlp_export.sample_items import made_up_regions, sample_items
from vlp_export.samples import RawSample, made_up_samples
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_pipeline.detector_pipeline import FasterRcnnPipeline
from vlp_pipeline.detector_regions import BACKBONE_ROLE, ROI_HEAD_ROLE, RegionDetector
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_pipeline.images import decode_image
from vlp_pipeline.label_scores import REASONING_LOGITS, LabelScores
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.text import TextProcessor
from vlp_pipeline.uniter_inputs import UniterInputs
from vlp_pipeline.uniter_tasks import UniterGroundingPipeline, UniterReasoningPipeline

WIDTH = tiny_detector_config().feature_width


def planned(folder: Path) -> tuple[LoadedCheckpoint, ExportPlan]:
    checkpoint = load_checkpoint(folder)
    return checkpoint, plan_export(checkpoint, own_task(checkpoint))


def inputs_of(checkpoint: LoadedCheckpoint, pictures: int = 1) -> UniterInputs:
    texts = TextProcessor.from_file(checkpoint.tokenizer.encode(), checkpoint.config.max_text_len)
    return UniterInputs(RegionSettings(WIDTH, MAX_REGIONS), texts, pictures=pictures)


def samples(checkpoint: LoadedCheckpoint, count: int) -> list[RawSample]:
    return made_up_samples(checkpoint.tokenizer, checkpoint.config.max_text_len, count)


@pytest.mark.parametrize("count", [1, 2, 36, 100])
def test_made_up_regions_are_such_as_a_detector_could_give(count: int) -> None:
    regions = made_up_regions(16, count, seed=count)
    assert (len(regions), regions.features.shape) == (count, (count, 16))
    assert (regions.boxes >= 0).all()
    assert (regions.boxes <= 1).all()
    assert (regions.boxes[:, 2:] - regions.boxes[:, :2]).min() > 0.05
    assert (regions.features >= 0).all()
    assert np.median(regions.features) < regions.features.mean()
    assert regions.digest() == made_up_regions(16, count, seed=count).digest()
    assert regions.digest() != made_up_regions(16, count, seed=count + 1).digest()


def test_samples_of_a_reader_have_from_one_region_to_the_most(tmp_path: Path) -> None:
    checkpoint, plan = planned(write_uniter(tmp_path / "reader", "grounding"))
    pipeline = UniterGroundingPipeline(inputs_of(checkpoint))
    rows = list(sample_items(plan, pipeline, samples(checkpoint, 8)))
    assert [len(row) for row in rows] == [1] * 8
    assert [row[0].sizes["regions"] for row in rows] == [1, 6, 6, 6, 2, 6, 1, 6]
    digests = {row[0].arrays["region_features"].tobytes() for row in rows}
    assert len(digests) == 8
    assert max(row[0].sizes["text"] for row in rows) == checkpoint.config.max_text_len


def test_each_pair_is_made_of_two_samples(tmp_path: Path) -> None:
    checkpoint, plan = planned(write_uniter(tmp_path / "reader", "nlvr2"))
    pipeline = UniterReasoningPipeline(inputs_of(checkpoint, 2), LabelScores(("false", "true"), REASONING_LOGITS))
    items = [row[0] for row in sample_items(plan, pipeline, samples(checkpoint, 5))]
    for number, item in enumerate(items):
        assert item.arrays["right_region_features"] is items[number - 1].arrays["left_region_features"]
    ((alone,),) = sample_items(plan, pipeline, samples(checkpoint, 1))
    assert alone.arrays["left_region_features"] is alone.arrays["right_region_features"]


def test_a_reader_of_pictures_gets_pictures(tmp_path: Path) -> None:
    from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
    from vlp_pipeline.vilt_reasoning import ViltReasoningPipeline

    checkpoint, plan = planned(write_vilt_reasoner(tmp_path / "reasoner"))
    pipeline = ViltReasoningPipeline(
        ViltImageProcessor(ViltImageSettings.from_mapping(checkpoint.image)),
        TextProcessor.from_file(checkpoint.tokenizer.encode(), checkpoint.config.max_text_len),
        LabelScores(("false", "true"), REASONING_LOGITS),
    )
    items = [row[0] for row in sample_items(plan, pipeline, samples(checkpoint, 3))]
    assert {item.arrays["left_patches"].dtype.name for item in items} == {"uint8"}
    assert items[1].arrays["right_grid"].tolist() == items[0].arrays["left_grid"].tolist()


def test_a_detectors_second_graph_gets_the_checkpoints_own_proposals(tmp_path: Path) -> None:
    checkpoint, plan = planned(write_detector(tmp_path / EXTRACTOR))
    settings = DetectorSettings.from_mapping(checkpoint.image)
    detector = RegionDetector(settings)
    pipeline = FasterRcnnPipeline(detector, checkpoint.labels or (), checkpoint.attributes)
    raw = made_up_samples("", 4, 3)
    rows = list(sample_items(plan, pipeline, raw))
    for sample, (first, second) in zip(raw, rows, strict=True):
        assert (first.role, second.role) == (BACKBONE_ROLE, ROI_HEAD_ROLE)
        picture = detector.prepare(decode_image(sample.image))
        np.testing.assert_array_equal(first.arrays["pixels"], picture.pixels[0])
        with torch.no_grad():
            seen = checkpoint.detector.backbone_and_rpn(torch.from_numpy(picture.pixels))
        np.testing.assert_allclose(second.arrays["roi_feature_map"], seen.feature_map[0].numpy(), atol=1e-6)
        outputs = {name: cast(Any, value).numpy() for name, value in seen._asdict().items()}
        np.testing.assert_allclose(second.arrays["rois"], detector.propose(picture, outputs), atol=1e-4)
        assert 1 <= len(second.arrays["rois"]) <= settings.post_nms_top_n


def test_a_module_gives_its_outputs_by_name(tmp_path: Path) -> None:
    checkpoint, plan = planned(write_uniter(tmp_path / "reader", "grounding"))
    pipeline = UniterGroundingPipeline(inputs_of(checkpoint))
    rows = [row[0] for row in sample_items(plan, pipeline, samples(checkpoint, 3))]
    outputs = run_module(plan.graphs[0], pipeline.collate(rows))
    assert {name: array.shape for name, array in outputs.items()} == {
        "grounding_logits": (3, MAX_REGIONS),
        "grounding_boxes": (3, MAX_REGIONS, 4),
    }
    counts = [row.sizes["regions"] for row in rows]
    for row, count in enumerate(counts):
        assert (outputs["grounding_logits"][row, count:] == -1e4).all()
        assert not outputs["grounding_boxes"][row, count:].any()
        np.testing.assert_array_equal(
            outputs["grounding_boxes"][row, :count], rows[row].arrays["region_positions"][:, :4]
        )
    one = load_checkpoint(write_uniter(tmp_path / "single", "itm"))
    single = plan_export(one, own_task(one)).graphs[0]
    assert {name: array.shape for name, array in run_module(single, dict(single.example)).items()} == {
        "itm_logits": (2, 2)
    }
