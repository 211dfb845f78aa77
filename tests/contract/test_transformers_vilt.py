"""Checkpoints that transformers writes give transformers' outputs here, pictures of different sizes in one batch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    PreTrainedModel,
    ViltForImageAndTextRetrieval,
    ViltForImagesAndTextClassification,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
)
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_models.layers.patchify import patchify
from vlp_spec.errors import ArtifactError

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # tests are imported one by one, not as packages
from transformers_models import build_vilt, save_vilt

ATOL = 1e-4
TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "image_size": 12,
    "patch_size": 4,
    "max_position_embeddings": 8,
    "modality_type_vocab_size": 3,
}
TINY_GRIDS = [(2, 3), (3, 3), (1, 4)]

Publish = Callable[[PreTrainedModel], LoadedCheckpoint]


pytestmark = pytest.mark.usefixtures("quiet_transformers")


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Write a transformers model with save_pretrained and open the directory with our reader."""

    def write_and_read(model: PreTrainedModel) -> LoadedCheckpoint:
        save_vilt(model, tmp_path / "published")
        return load_checkpoint(tmp_path / "published")

    return write_and_read


class _Batch:
    """Random pictures of different sizes with texts of different lengths, in both forms."""

    def __init__(self, grids: list[tuple[int, int]], patch_size: int, text_len: int, vocab_size: int) -> None:
        generator = torch.Generator().manual_seed(1)
        height, width = (patch_size * max(grid[axis] for grid in grids) for axis in (0, 1))
        raw = torch.zeros(len(grids), 3, height, width, dtype=torch.uint8)
        self.pixel_values = torch.zeros(raw.shape)
        self.pixel_mask = torch.zeros(len(grids), height, width, dtype=torch.long)
        for row, (rows, columns) in enumerate(grids):
            size = (rows * patch_size, columns * patch_size)
            picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
            raw[row, :, : size[0], : size[1]] = picture
            self.pixel_values[row, :, : size[0], : size[1]] = (picture / 255 - 0.5) / 0.5
            self.pixel_mask[row, : size[0], : size[1]] = 1
        self.grid = torch.tensor(grids, dtype=torch.int32)
        self.patches = patchify(raw, self.grid, patch_size)
        lengths = torch.arange(len(grids)) % 2 * 2
        self.text_mask = (torch.arange(text_len) < (text_len - lengths)[:, None]).long()
        ids = torch.randint(5, vocab_size, (len(grids), text_len), generator=generator)
        self.input_ids = ids * self.text_mask

    @property
    def pictures(self) -> tuple[Tensor, Tensor]:
        return self.patches, self.grid

    @property
    def ours(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.patches, self.grid, self.input_ids, self.text_mask

    @property
    def theirs(self) -> dict[str, Tensor]:
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.text_mask,
            "pixel_values": self.pixel_values,
            "pixel_mask": self.pixel_mask,
        }


def _assert_close(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert (expected[0] - expected[1]).abs().max() > 100 * ATOL, "the outputs are too flat to tell models apart"
    difference = (got - expected).abs().max().item()
    assert difference < ATOL


@torch.no_grad()
def test_question_answering_at_full_size(publish: Publish) -> None:
    answers = {number: f"answer {number}" for number in range(3129)}
    theirs = build_vilt(
        ViltForQuestionAnswering, id2label=answers, label2id={name: key for key, name in answers.items()}
    )
    ours = publish(theirs)
    batch = _Batch([(12, 8), (7, 12)], 32, 9, 30522)

    assert ours.config.hidden_size == 768
    assert ours.config.num_layers == 12
    assert ours.labels == tuple(answers.values())
    assert ours.image["shorter_edge"] == 384
    assert ours.image["longer_edge"] == 639
    _assert_close(ours.model.vqa_logits(*batch.ours), theirs(**batch.theirs).logits)


@pytest.mark.parametrize("eps", [1e-12, 1e-3])
@torch.no_grad()
def test_question_answering_keeps_the_sources_eps(publish: Publish, eps: float) -> None:
    theirs = build_vilt(ViltForQuestionAnswering, **TINY, layer_norm_eps=eps, num_labels=5)
    batch = _Batch(TINY_GRIDS, 4, 8, 30)
    _assert_close(publish(theirs).model.vqa_logits(*batch.ours), theirs(**batch.theirs).logits)


@torch.no_grad()
def test_reasoning_over_two_pictures(publish: Publish) -> None:
    theirs = build_vilt(ViltForImagesAndTextClassification, **TINY, num_images=2, num_labels=2)
    left, right = _Batch(TINY_GRIDS, 4, 8, 30), _Batch(TINY_GRIDS[::-1], 4, 8, 30)
    both = {name: torch.stack([left.theirs[name], right.theirs[name]], 1) for name in ("pixel_values", "pixel_mask")}

    ours = publish(theirs)

    assert ours.labels is None
    logits = ours.model.nlvr2_logits(left.pictures, right.pictures, left.input_ids, left.text_mask)
    _assert_close(logits, theirs(**left.theirs | both).logits)


@torch.no_grad()
def test_retrieval(publish: Publish) -> None:
    theirs = build_vilt(ViltForImageAndTextRetrieval, **TINY)
    batch = _Batch(TINY_GRIDS, 4, 8, 30)
    _assert_close(publish(theirs).model.rank_scores(*batch.ours), theirs(**batch.theirs).logits[:, 0])


@torch.no_grad()
def test_masked_words_with_the_tied_decoder(publish: Publish) -> None:
    theirs = build_vilt(ViltForMaskedLM, **TINY)
    torch.nn.init.normal_(theirs.mlm_score.decoder.bias)
    batch = _Batch(TINY_GRIDS, 4, 8, 30)
    ours = publish(theirs).model
    _assert_close(ours.mlm_logits(*batch.ours), theirs(**batch.theirs).logits)
    # Trained further, the two are on their own, as in the published code.
    decoder, words = ours.mlm_score.decoder.weight, ours.text_embeddings.word_embeddings.weight
    assert decoder.data_ptr() != words.data_ptr()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["ViltForTokenClassification"]}, "supported: ViltForQuestionAnswering"),
        ({"hidden_act": "relu", "qkv_bias": False}, "hidden_act is 'relu'.*qkv_bias is False"),
        ({"image_size": [12, 16]}, "only squares are supported"),
        ({"intermediate_size": 41}, "6 other shape: .*transformer.blocks.0.mlp.fc1.weight"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(
    tmp_path: Path, publish: Publish, changes: dict[str, Any], words: str
) -> None:
    publish(build_vilt(ViltForQuestionAnswering, **TINY))
    path = tmp_path / "published" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ArtifactError, match=words):
        load_checkpoint(tmp_path / "published")


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_image_settings_are_read_from_either_file(tmp_path: Path, publish: Publish, file: str) -> None:
    publish(build_vilt(ViltForQuestionAnswering, **TINY))
    settings: dict[str, Any] = {"size": {"shortest_edge": 40}, "size_divisor": 8, "resample": 3, "do_normalize": True}
    path = tmp_path / "published" / file
    path.write_text(json.dumps(settings if file.startswith("pre") else {"image_processor": settings}))
    image = load_checkpoint(tmp_path / "published").image
    assert (image["shorter_edge"], image["longer_edge"], image["size_divisor"]) == (40, 66, 8)

    settings |= {"image_mean": [0.48, 0.45, 0.4], "resample": 2}
    path.write_text(json.dumps(settings if file.startswith("pre") else {"image_processor": settings}))
    with pytest.raises(ArtifactError, match=r"resample is 2.*image_mean is \[0.48"):
        load_checkpoint(tmp_path / "published")
