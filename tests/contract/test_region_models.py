"""Tiny region models all the way, from checkpoint to service; each answer is the checkpoint's own."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.checkpoints import load_checkpoint
from vlp_models.evaluation.detector_artefacts import open_detector
from vlp_pipeline.images import decode_image
from vlp_pipeline.regions import Regions, check_regions
from vlp_pipeline.text import TextProcessor
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_spec.errors import ArtifactError, InvalidArgumentError, NoExtractorError, TaskNotSupportedError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, MatchQuery, ReasoningQuery, VqaQuery

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # tests are imported one by one, not as packages
from service_rig import read_metric
from tiny_regions import ANSWERS, CLASSES, EXTRACTOR, LABELS, MAX_REGIONS, READERS, export_all, write_uniter

TEXT = "there is a red cat at the left"


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    """As a fixture: torch's decorator would hide from pytest that a test is to be awaited."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Path:
    root = tmp_path_factory.mktemp("repository")
    export_all(root, scratch)
    return root


def picture(seed: int, size: tuple[int, int] = (90, 64)) -> bytes:
    random = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    for _ in range(4):
        x, y = random.integers(0, size[0] - 20), random.integers(0, size[1] - 20)
        pixels[y : y + 24, x : x + 24] = random.integers(0, 256, 3)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def serve(repository: Path, *names: str) -> Service:
    models = tuple(
        ModelSettings(reference=name, repository=repository, engine=EngineSettings(threads=1)) for name in names
    )
    return Service(CoreSettings(models=models, preprocess_threads=1))


@pytest.fixture
async def service(repository: Path) -> AsyncIterator[Service]:
    made = serve(repository, EXTRACTOR, *READERS, "vilt-reasoning")
    await made.start()
    ready = await made.wait_ready(60.0)
    assert ready.ready, ready
    yield made
    await made.close()


def regions_of(scratch: Path, image: bytes) -> Regions:
    """By the torch detector, apart from everything that serves."""
    found = open_detector(str(scratch / EXTRACTOR), Path()).detect(decode_image(image))
    return check_regions(found.boxes, found.features, scores=found.scores)


def torch_inputs(scratch: Path, name: str, text: str, *pictures: Regions) -> list[torch.Tensor]:
    checkpoint = load_checkpoint(scratch / name)
    processor = TextProcessor.from_file(checkpoint.tokenizer.encode(), checkpoint.config.max_text_len)
    ids = torch.from_numpy(processor.encode(text))[None]
    inputs = [ids, torch.ones_like(ids)]
    for one in pictures:
        arrays = one.features, one.positions, np.ones(len(one), np.int32)
        inputs += [torch.from_numpy(np.array(array))[None] for array in arrays]
    return inputs


def close(found: float, expected: float) -> bool:
    return abs(found - expected) < 2e-4


async def test_every_task_gives_what_the_checkpoint_gives(service: Service, scratch: Path) -> None:
    image = picture(1)
    regions = regions_of(scratch, image)
    assert 3 <= len(regions) <= MAX_REGIONS

    found = (await service.entailment(image, [EntailmentQuery(TEXT)])).results[0]
    model = load_checkpoint(scratch / "uniter-entailment").uniter
    expected = model.entailment_logits(*torch_inputs(scratch, "uniter-entailment", TEXT, regions))[0].softmax(0)
    assert {one.label: one.score for one in found.scores} == pytest.approx(
        dict(zip(LABELS, expected.tolist(), strict=True)), abs=2e-4
    )
    assert found.label == LABELS[int(expected.argmax())]

    answers = (await service.vqa(image, [VqaQuery(TEXT)], model="uniter-vqa")).results[0].answers
    logits = load_checkpoint(scratch / "uniter-vqa").uniter.vqa_logits(
        *torch_inputs(scratch, "uniter-vqa", TEXT, regions)
    )
    wanted = dict(zip(ANSWERS, logits[0].sigmoid().tolist(), strict=True))
    assert {one.answer: one.score for one in answers} == pytest.approx(wanted, abs=2e-4)

    itm = (await service.match(image, [MatchQuery(TEXT)], model="uniter-match")).results[0].score
    logits = load_checkpoint(scratch / "uniter-match").uniter.itm_logits(
        *torch_inputs(scratch, "uniter-match", TEXT, regions)
    )
    assert close(itm, float(logits[0].softmax(0)[1]))

    rank = (await service.match(image, [MatchQuery(TEXT)], model="uniter-rank")).results[0].score
    scores = load_checkpoint(scratch / "uniter-rank").uniter.rank_scores(
        *torch_inputs(scratch, "uniter-rank", TEXT, regions)
    )
    assert close(rank, float(scores[0].sigmoid()))

    boxes = (await service.grounding(image, [GroundingQuery("the blue dog", top_k=100)])).results[0].boxes
    inputs = torch_inputs(scratch, "uniter-grounding", "the blue dog", regions)
    scores = load_checkpoint(scratch / "uniter-grounding").uniter.grounding_scores(*inputs)[0].softmax(0)
    assert len(boxes) == len(regions)
    best = int(scores.argmax())
    assert close(boxes[0].score, float(scores[best]))
    assert boxes[0].box == pytest.approx(regions.boxes[best].tolist(), abs=1e-4)
    assert sum(one.score for one in boxes) == pytest.approx(1.0, abs=1e-4)


async def test_statements_on_two_pictures_are_judged_by_both_families(service: Service, scratch: Path) -> None:
    images = picture(1), picture(2, (64, 80))
    regions = [regions_of(scratch, image) for image in images]
    found = (await service.reasoning(images, [ReasoningQuery(TEXT)], model="uniter-reasoning")).results[0]
    ids, mask, *rest = torch_inputs(scratch, "uniter-reasoning", TEXT, *regions)
    model = load_checkpoint(scratch / "uniter-reasoning").uniter
    logits = model.nlvr2_logits(ids, mask, tuple(rest[:3]), tuple(rest[3:]))
    assert close(found.score, float(logits[0].softmax(0)[1]))
    assert found.label == (found.score >= 0.5)

    swapped = (await service.reasoning(images[::-1], [ReasoningQuery(TEXT)], model="uniter-reasoning")).results[0]
    assert swapped.score != found.score

    checkpoint = load_checkpoint(scratch / "vilt-reasoning")
    vilt = (await service.reasoning(images, [ReasoningQuery(TEXT)], model="vilt-reasoning")).results[0]
    from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings

    processor = ViltImageProcessor(ViltImageSettings.from_mapping(checkpoint.image))
    cuts = [processor.patches(decode_image(image)) for image in images]
    pairs = [(torch.from_numpy(cut.patches)[None], torch.from_numpy(cut.grid)[None]) for cut in cuts]
    ids, mask = torch_inputs(scratch, "vilt-reasoning", TEXT)[:2]
    assert close(vilt.score, float(checkpoint.vilt.nlvr2_logits(*pairs, ids, mask)[0].softmax(0)[1]))


async def test_regions_are_found_once_and_may_be_sent_in_place_of_the_picture(service: Service) -> None:
    image = picture(3)
    reply = await service.regions(image)
    assert reply.model == f"{EXTRACTOR}@1"
    assert set(reply.found.names) <= set(CLASSES)
    first = await service.entailment(image, [EntailmentQuery(TEXT)])
    assert first.timings.regions_ms == 0  # the regions were kept
    sent = await service.entailment(reply.found.regions, [EntailmentQuery(TEXT)])
    assert sent.results[0].scores == pytest.approx(first.results[0].scores)
    lookups = {
        result: read_metric(service.metrics, "vlpserve_cache_total", cache="regions", result=result)
        for result in ("hit", "miss")
    }
    assert lookups == {"hit": 1, "miss": 1}
    other = await service.grounding(picture(4), [GroundingQuery("the dog")])
    assert other.timings.regions_ms > 0


async def test_features_of_another_width_and_regions_for_a_model_of_pictures_are_refused(service: Service) -> None:
    box = np.array([[0.1, 0.1, 0.5, 0.5]], np.float32)
    with pytest.raises(InvalidArgumentError, match=r"features: got shape \(1, 5\)"):
        await service.entailment(check_regions(box, np.ones((1, 5), np.float32)), [EntailmentQuery(TEXT)])
    regions = check_regions(box, np.ones((1, 32), np.float32))
    with pytest.raises(InvalidArgumentError, match="reads pictures, not regions"):
        await service.reasoning((regions, regions), [ReasoningQuery(TEXT)], model="vilt-reasoning")
    with pytest.raises(TaskNotSupportedError):
        await service.regions(picture(1), model="uniter-vqa")


async def test_a_reader_without_its_extractor_takes_regions_alone(repository: Path, scratch: Path) -> None:
    service = serve(repository, "uniter-entailment")
    await service.start()
    await service.wait_ready(60.0)
    try:
        with pytest.raises(NoExtractorError, match=f"region features of '{EXTRACTOR}'"):
            await service.entailment(picture(1), [EntailmentQuery(TEXT)])
        sent = await service.entailment(regions_of(scratch, picture(1)), [EntailmentQuery(TEXT)])
        assert sent.results[0].label in LABELS
    finally:
        await service.close()


def test_the_manifest_names_labels_and_extractor(repository: Path) -> None:
    deployment = find_deployment(repository, "uniter-entailment").deployment
    assert deployment.head == {"labels": list(LABELS)}
    assert deployment.image["extractor"] == EXTRACTOR
    assert find_deployment(repository, "uniter-reasoning").deployment.head == {"labels": ["false", "true"]}
    assert find_deployment(repository, EXTRACTOR).deployment.axes["batch"].max == 1


def test_an_extractor_that_does_not_fit_is_refused(repository: Path, scratch: Path, tmp_path: Path) -> None:
    checkpoint = write_uniter(scratch / "another", "itm")
    for name, fault in (("uniter-vqa", "it does vqa, expected regions"), ("nobody", "nobody")):
        with pytest.raises(ArtifactError, match=fault):
            export_checkpoint(checkpoint, repository=repository, options=ExportOptions(extractor=name))
    with pytest.raises(ArtifactError, match="reads pictures, not region features"):
        export_checkpoint(scratch / "vilt-reasoning", repository=repository, options=ExportOptions(extractor=EXTRACTOR))
