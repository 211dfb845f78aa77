from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.checkpoints import save as save_module
from vlp_models.families.vilt import ViltModel
from vlp_spec.errors import ArtifactError

LABELS = ("red", "", "blau ü")


@pytest.fixture
def saved(tmp_path: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]) -> Path:
    directory = tmp_path / "runs" / "vilt"
    save_checkpoint(directory, model, tokenizer=tokenizer, image=image, labels=LABELS)
    return directory


def test_a_checkpoint_comes_back_as_it_was(
    saved: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]
) -> None:
    loaded = load_checkpoint(saved, task="vqa")
    assert loaded.config == model.config
    assert (loaded.labels, loaded.tokenizer, loaded.image) == (LABELS, tokenizer, image)
    assert loaded.text == {"type": "bert", "max_length": 6}
    assert loaded.source == str(saved)
    assert not loaded.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    assert sorted(path.name for path in saved.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ]


def test_half_precision_storage_loads_as_float32(
    tmp_path: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]
) -> None:
    save_checkpoint(tmp_path / "half", model, tokenizer=tokenizer, image=image, labels=LABELS, storage="float16")
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded = load_checkpoint(tmp_path / "half").model
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.allclose(loaded.pooler.dense.weight, model.pooler.dense.weight, atol=1e-4)


def test_a_checkpoint_that_is_there_is_exchanged(
    saved: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]
) -> None:
    save_checkpoint(saved, model, tokenizer=tokenizer, image=image, labels=("a", "b", "c"))
    assert load_checkpoint(saved).labels == ("a", "b", "c")
    assert [path.name for path in saved.parent.iterdir()] == ["vilt"]


def test_a_failure_leaves_the_old_checkpoint_and_no_litter(
    saved: Path, model: ViltModel, tokenizer: str, image: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_args: object, **_kwargs: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(save_module, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(saved, model, tokenizer=tokenizer, image=image, labels=("a", "b", "c"))
    assert load_checkpoint(saved).labels == LABELS
    assert [path.name for path in saved.parent.iterdir()] == ["vilt"]


def test_other_peoples_files_are_left_alone(
    tmp_path: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    with pytest.raises(ArtifactError, match="not empty and not a checkpoint"):
        save_checkpoint(tmp_path / "thesis", model, tokenizer=tokenizer, image=image, labels=LABELS)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter"]


def test_what_does_not_fit_is_told_at_once(
    tmp_path: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]
) -> None:
    image |= {"patch_size": 2}
    with pytest.raises(ArtifactError, match="patch_size 2.*got 1, but the model's head has 3.*storage: got 'int4'"):
        save_checkpoint(tmp_path / "x", model, tokenizer=tokenizer, image=image, labels=["a"], storage="int4")


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"colour": 1}, "unknown key 'colour'"),
        ("config.json", {"hidden_size": 9}, "not a multiple of num_heads"),
        ("config.json", {"num_layers": 3}, "12 missing: transformer.blocks.2.attn.proj.bias.* and 4 more"),
        ("config.json", {"vocab_size": 11}, r"1 other shape: text_embeddings.word_embeddings.weight \(got \[12, 8\]"),
        ("config.json", {"id2label": {"0": "red"}}, "got 1 answers .* 3 outputs"),
        ("config.json", {"id2label": {}}, r"no id2label.*\(--labels\)"),
        ("config.json", {"model_type": "bert"}, "model_type 'bert'; supported: vlpserve-vilt, vilt"),
        ("preprocessor_config.json", {"patch_size": 2}, "patch_size 2, but the model's is 4"),
        ("preprocessor_config.json", {"blur": 2}, "unknown key blur"),
    ],
)
def test_a_damaged_checkpoint_says_what_is_wrong(saved: Path, file: str, changes: dict[str, Any], words: str) -> None:
    _edit(saved / file, **changes)
    with pytest.raises(ArtifactError, match=words) as caught:
        load_checkpoint(saved)
    assert str(saved) in caught.value.message


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_a_missing_or_truncated_file_is_named(saved: Path, file: str) -> None:
    (saved / file).write_bytes((saved / file).read_bytes()[:20])
    with pytest.raises(ArtifactError, match=file):
        load_checkpoint(saved)
    (saved / file).unlink()
    with pytest.raises(ArtifactError, match=file):
        load_checkpoint(saved)


def test_given_files_go_before_the_directorys_own(saved: Path, vocabulary: Path, answers: Path) -> None:
    (saved / "tokenizer.json").unlink()
    loaded = load_checkpoint(saved, tokenizer=vocabulary, labels=answers)
    assert loaded.labels == ("red", "green", "blue")
    assert "colour" in loaded.tokenizer
    with pytest.raises(ArtifactError, match=r"labels: .*nowhere.json does not exist"):
        load_checkpoint(saved, labels=saved / "nowhere.json")


def test_a_task_without_its_head_is_refused(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="no head for the task 'nlvr2'; its heads: vqa, itm"):
        load_checkpoint(saved, task="nlvr2")


def test_a_model_without_answers_has_no_labels(
    tmp_path: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]
) -> None:
    matcher = ViltModel(replace(model.config, heads=("itm",), num_labels=0))
    save_checkpoint(tmp_path / "itm", matcher, tokenizer=tokenizer, image=image)
    assert load_checkpoint(tmp_path / "itm", task="itm").labels is None


def test_shards_are_joined(saved: Path) -> None:
    from safetensors.torch import save_file

    state = load_file(saved / "model.safetensors")
    (saved / "model.safetensors").unlink()
    names = sorted(state)
    shards = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, saved / file)
    index = {name: file for file, part in shards.items() for name in part}
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert torch.equal(load_checkpoint(saved).model.pooler.dense.bias, state["pooler.dense.bias"])
    (saved / "model-2.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"shards are missing: model-2.safetensors"):
        load_checkpoint(saved)


def test_a_directory_without_weights_is_refused(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="no weights: expected model.safetensors"):
        load_checkpoint(saved)
