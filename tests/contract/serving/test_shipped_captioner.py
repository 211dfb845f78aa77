"""The shipped captioner behind the service writes what transformers writes with the same weights."""

import asyncio
from pathlib import Path

import pytest
import torch
from service_rig import Rig
from transformers import BlipForConditionalGeneration
from vlp_models.checkpoints import load_checkpoint
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import open_source
from vlp_models.evaluation.reference_generation import generate_reference
from vlp_models.scenes.caption_grammar import parse_caption
from vlp_models.scenes.dataset import ScenesConfig, write_scenes
from vlp_pipeline.registry import build_pipeline
from vlp_server.core.settings import EngineSettings, ModelSettings
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import CaptionQuery, Decoding
from vlp_zoo import zoo_path

NAME = "scenes-blip"
PICTURES = 24
SURE = 1e-4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[bytes]:
    root: Path = tmp_path_factory.mktemp("scenes")
    write_scenes(root, ScenesConfig({"test": PICTURES}))
    return [raw.image for raw in open_source(root, "test").read(FaultCounter("test"))]


@pytest.mark.parametrize("beams", [1, 3])
async def test_its_words_are_those_of_transformers_generate(pictures, beams):
    repository = zoo_path() / "repository"
    found = find_deployment(repository, NAME)
    pipeline = build_pipeline(found.deployment, found.assets_dir)
    checkpoint = zoo_path() / "checkpoints" / NAME
    decoder = BlipForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval().text_decoder
    encode = load_checkpoint(checkpoint).blip.encode_image
    query = CaptionQuery(decoding=Decoding(num_beams=beams))
    served = ModelSettings(reference=NAME, repository=repository, engine=EngineSettings(threads=1))
    async with Rig(served) as rig:
        replies = await asyncio.gather(*(rig.service.caption(picture, query) for picture in pictures))
    close = []
    for picture, reply in zip(pictures, replies, strict=True):
        said = reply.results[0].captions[0].text
        with torch.no_grad():
            states = encode(torch.from_numpy(pipeline.prepare_image(picture).arrays["pixels"])[None])
        beginning = pipeline.begin(query)
        wanted = generate_reference(decoder, states, beginning, pipeline.plan(query, len(beginning)))
        if pipeline.text_of(query, wanted.tokens) != said:
            close.append(wanted.gap)
        assert parse_caption(said) is not None, said
    print(f"{beams} beams: {len(close)} of {PICTURES} texts differ, the reference's own gaps there {close}")  # noqa: T201
    assert all(gap < SURE for gap in close)
