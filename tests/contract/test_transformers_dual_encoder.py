"""CLIP and SigLIP as transformers computes them: embeddings at full size, pixels of photographs, ids of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)
from vlp_models.checkpoints import load_checkpoint
from vlp_models.families.dual_encoder import DualEncoder
from vlp_pipeline.clip_image import ClipImageProcessor, ClipImageSettings
from vlp_pipeline.clip_text import ClipTextProcessor, ClipTextSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # tests are imported one by one, not as packages
from dual_encoders import clip_tokenizer, publish, sharpen, siglip_tokenizer, tiny_clip, tiny_siglip

ATOL = 1e-4
PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "golden" / "photographs").glob("*.jpg"))
# Sizes that rounding, odd margins and extreme shapes make awkward.
SIZES = [(451, 300), (300, 451), (225, 224), (223, 500), (37, 31), (640, 427), (1200, 90)]


pytestmark = pytest.mark.usefixtures("quiet_transformers")


def loaded(model: Any, folder: Path) -> DualEncoder:
    """The same weights through save_pretrained and our reader."""
    ours = load_checkpoint(str(publish(model, folder))).model
    assert isinstance(ours, DualEncoder)
    return ours


@torch.no_grad()
def assert_same_embeddings(ours: DualEncoder, theirs: Any, pixels: Tensor, ids: Tensor, mask: Tensor) -> None:
    """On pixels that are normalised already, unit length, as cosine similarity compares them, and as they come."""
    pairs = (
        (ours.encode_image(pixels), theirs.get_image_features(pixel_values=pixels).pooler_output),
        (ours.encode_text(ids, mask), theirs.get_text_features(input_ids=ids).pooler_output),
    )
    for own, other in pairs:
        torch.testing.assert_close(own, other, atol=ATOL, rtol=0)
        lengths = other.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(own / own.norm(dim=-1, keepdim=True), other / lengths, atol=ATOL, rtol=0)
        similarities = (other / lengths) @ (other / lengths).T
        assert similarities.fill_diagonal_(0).max() < 0.999, "outputs so flat that mistakes would hide"


def some_pixels(count: int, size: int) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def clip_texts(end: int, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Ids below `end`, each text ended and filled up with it, and their mask."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, end - 1, (len(lengths), max(lengths)), generator=generator)
    mask = torch.ones_like(ids)
    for row, length in enumerate(lengths):
        ids[row, length - 1 :], mask[row, length:] = end, 0
    return ids, mask


def test_clip_vit_b_32_at_full_size(tmp_path: Path) -> None:
    end = clip_tokenizer().get_vocab_size() - 1
    # Everything as published, but for the token that ends a text, which the small tokenizer must have too.
    theirs = sharpen(CLIPModel(CLIPConfig(text_config={"eos_token_id": end, "bos_token_id": end - 1})))
    assert theirs.num_parameters() > 151_000_000
    ours = loaded(theirs, tmp_path)
    assert_same_embeddings(ours, theirs, some_pixels(3, 224), *clip_texts(end, (20, 7, 3, 77)))


def test_siglip_base_at_full_size(tmp_path: Path) -> None:
    theirs = sharpen(SiglipModel(SiglipConfig()))
    assert theirs.num_parameters() > 203_000_000
    ours = loaded(theirs, tmp_path)
    ids = torch.randint(2, 31_000, (3, 64), generator=torch.Generator().manual_seed(2))
    ids[1, 5:] = 1
    assert_same_embeddings(ours, theirs, some_pixels(3, 224), ids, torch.ones_like(ids))


def test_old_configurations_pool_at_the_largest_id(tmp_path: Path) -> None:
    """The published CLIPs say that their texts end with id 2, which transformers reads as "the largest id"."""
    end = clip_tokenizer().get_vocab_size() - 1
    theirs = tiny_clip(text_config={"eos_token_id": 2})
    ours = loaded(theirs, tmp_path)
    ids, mask = clip_texts(end, (8, 3, 5))
    assert_same_embeddings(ours, theirs, some_pixels(2, 24), ids, mask)


def test_other_shapes(tmp_path: Path) -> None:
    end = clip_tokenizer().get_vocab_size() - 1
    clip = tiny_clip(vision_config={"image_size": 32, "patch_size": 16, "num_hidden_layers": 3}, projection_dim=12)
    assert_same_embeddings(loaded(clip, tmp_path / "clip"), clip, some_pixels(2, 32), *clip_texts(end, (4, 12)))
    siglip = tiny_siglip(vision_config={"num_attention_heads": 3})
    ids = torch.randint(2, 16, (2, 10), generator=torch.Generator().manual_seed(2))
    assert_same_embeddings(loaded(siglip, tmp_path / "siglip"), siglip, some_pixels(2, 24), ids, torch.ones_like(ids))


def photographs() -> list[tuple[str, Image.Image]]:
    """As they are, and cut to awkward sizes."""
    whole = [(path.stem, Image.open(path).convert("RGB")) for path in PHOTOGRAPHS]
    cut = [(f"{name}-{size[0]}x{size[1]}", image.resize(size)) for size in SIZES for name, image in whole[:1]]
    return whole + cut


@pytest.mark.parametrize(("name", "image"), photographs())
@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_pixels_of_photographs(name: str, image: Image.Image, resample: str) -> None:
    """Theirs, taken back to bytes, differ from ours by at most 1."""
    number = {"bilinear": 2, "bicubic": 3}[resample]
    crop = ClipImageSettings(224, 224, shortest_edge=224, resample=resample)
    clip = CLIPImageProcessorPil(resample=number)
    squares = ClipImageSettings(224, 224, resample=resample)
    siglip = SiglipImageProcessorPil(resample=number, size={"height": 224, "width": 224})
    for processor, settings in ((clip, crop), (siglip, squares)):
        theirs = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        back = (theirs * np.array(processor.image_std) + np.array(processor.image_mean)) * 255
        ours = ClipImageProcessor(settings).pixels(image)
        assert np.abs(back - ours).max() <= 1 + 1e-3


def test_the_graph_s_normalisation_is_the_processor_s(tmp_path: Path) -> None:
    image = Image.open(PHOTOGRAPHS[0]).convert("RGB")
    theirs = sharpen(SiglipModel(tiny_siglip(vision_config={"image_size": 24}).config))
    processor = SiglipImageProcessorPil(size={"height": 24, "width": 24})
    processor.save_pretrained(tmp_path)
    ours = loaded(theirs, tmp_path)
    pixels = ClipImageProcessor(ClipImageSettings(24, 24)).pixels(image)
    with torch.no_grad():
        own = ours.encode_image(torch.from_numpy(pixels)[None])
        other = theirs.get_image_features(**processor(image, return_tensors="pt")).pooler_output
    torch.testing.assert_close(own, other, atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    "text", ["a photo of a red cat", "A  Photo\tof", "two trees above the house " * 9, "日本", "a!?"]
)
def test_ids_of_texts(text: str) -> None:
    """Padding is the mask's business here; the ids before it are theirs."""
    for tokenizer, length in ((clip_tokenizer(), 12), (siglip_tokenizer(), 10)):
        theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        expected = theirs(text, truncation=True, max_length=length)["input_ids"]
        processor = ClipTextProcessor.from_file(tokenizer.to_str().encode(), ClipTextSettings(length, 1))
        ids, _ = processor.encode(text)
        assert ids.tolist() == expected
