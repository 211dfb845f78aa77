from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_pipeline.region_settings import RegionSettings
from vlp_spec.errors import ArtifactError

LABELS = ("red", "", "blau ü")
IMAGE = asdict(RegionSettings(region_size=5, max_regions=36, extractor="detector", extractor_digest="0a"))


@pytest.fixture
def uniter() -> UniterModel:
    torch.manual_seed(0)
    config = UniterConfig(
        hidden_size=8,
        num_layers=2,
        num_heads=2,
        intermediate_size=12,
        vocab_size=12,
        max_positions=6,
        heads=("vqa", "entailment", "nlvr2", "mlm", "mrfr"),
        num_token_types=3,
        region_size=5,
        num_labels=3,
        entailment_labels=("neutral", "no", "yes"),
        nlvr2_variant="paired",
    )
    model = UniterModel(config)
    model.init_weights()
    return model.eval()


@pytest.fixture
def saved(tmp_path: Path, uniter: UniterModel, tokenizer: str) -> Path:
    directory = tmp_path / "runs" / "uniter"
    save_checkpoint(directory, uniter, tokenizer=tokenizer, image=IMAGE, labels=LABELS)
    return directory


def test_a_checkpoint_comes_back_as_it_was(saved: Path, uniter: UniterModel, tokenizer: str) -> None:
    loaded = load_checkpoint(saved, task="entailment")
    assert loaded.uniter.config == uniter.config
    assert (loaded.labels, loaded.tokenizer, loaded.image) == (LABELS, tokenizer, IMAGE)
    assert loaded.text == {"type": "bert", "max_length": 6}
    assert not loaded.model.training
    for name, tensor in uniter.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    assert sorted(path.name for path in saved.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ]
    with pytest.raises(ArtifactError, match=r"a UNITER checkpoint, expected a dual encoder \(CLIP or SigLIP\)"):
        _ = loaded.dual_encoder


def test_tied_weights_are_stored_once(saved: Path) -> None:
    stored = load_file(saved / "model.safetensors")
    assert not stored.keys() & {"cls.predictions.decoder.weight", "feat_regress.weight"}


def test_half_precision_storage_loads_as_float32(tmp_path: Path, uniter: UniterModel, tokenizer: str) -> None:
    save_checkpoint(tmp_path / "half", uniter, tokenizer=tokenizer, image=IMAGE, labels=LABELS, storage="float16")
    loaded = load_checkpoint(tmp_path / "half").model
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_what_does_not_fit_is_told_at_once(tmp_path: Path, uniter: UniterModel, tokenizer: str) -> None:
    image = IMAGE | {"region_size": 2048}
    with pytest.raises(
        ArtifactError, match="region_size 2048, but the model's is 5.*got 1, but the model's head has 3"
    ):
        save_checkpoint(tmp_path / "x", uniter, tokenizer=tokenizer, image=image, labels=["a"])


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"colour": 1}, "unknown key 'colour'"),
        ("config.json", {"hidden_size": 9}, "not a multiple of num_heads"),
        ("config.json", {"heads": "vqa"}, "heads: expected a list, got 'vqa'"),
        ("config.json", {"num_layers": 3}, "16 missing: uniter.encoder.layer.2"),
        ("config.json", {"entailment_labels": ["no", "yes"]}, "2 other shape: entailment_output.3"),
        ("config.json", {"id2label": {"0": "red"}}, "got 1 answers .* 3 outputs"),
        ("config.json", {"id2label": {}}, r"no id2label.*\(--labels\)"),
        ("preprocessor_config.json", {"region_size": 2}, "region_size 2, but the model's is 5"),
        ("preprocessor_config.json", {"max_regions": 0}, "expected 1 or more"),
        ("preprocessor_config.json", {"type": "vilt"}, "type 'vilt', expected 'regions'"),
        ("preprocessor_config.json", {"blur": 2}, "unknown key blur"),
    ],
)
def test_a_damaged_checkpoint_says_what_is_wrong(saved: Path, file: str, changes: dict[str, Any], words: str) -> None:
    _edit(saved / file, **changes)
    with pytest.raises(ArtifactError, match=words) as caught:
        load_checkpoint(saved)
    assert str(saved) in caught.value.message


def test_given_files_go_before_the_directorys_own(saved: Path, vocabulary: Path, answers: Path) -> None:
    (saved / "tokenizer.json").unlink()
    loaded = load_checkpoint(saved, tokenizer=vocabulary, labels=answers)
    assert loaded.labels == ("red", "green", "blue")
    assert "colour" in loaded.tokenizer
