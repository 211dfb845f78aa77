from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from vlp_models.checkpoints import load_checkpoint
from vlp_models.checkpoints.official_vilt import build_official_vilt
from vlp_models.families.vilt import ViltModel
from vlp_spec.errors import ArtifactError

KEYS = Path(__file__).parents[3] / "golden" / "official_keys"
HEADS = {
    "vilt_200k_mlm_itm": ("itm", "mlm"),
    "vilt_vqa": ("vqa",),
    "vilt_nlvr2": ("nlvr2",),
    "vilt_irtr": ("itm", "irtr"),
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, model: ViltModel) -> Write:
    """Write a published file of the tiny model, with changes to its weights or settings."""

    def write_file(changes: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> Path:
        state = {"text_embeddings.position_ids": torch.arange(6)[None], **model.state_dict(), **(changes or {})}
        config = {"num_heads": 2, "image_size": 12, "drop_rate": 0.2} if settings is None else settings
        content = {
            "epoch": 9,
            "state_dict": {name: tensor for name, tensor in state.items() if tensor is not None},
            "hyper_parameters": {"config": config},
        }
        path = tmp_path / "vilt.ckpt"
        torch.save(content, path)
        return path

    return write_file


@pytest.mark.parametrize("name", HEADS)
def test_every_published_name_fits_at_full_size(name: str) -> None:
    shapes = json.loads((KEYS / f"{name}.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    model = build_official_vilt(state, {}, name)
    assert model.config.heads == HEADS[name]
    assert (model.config.hidden_size, model.config.num_layers, model.config.num_heads) == (768, 12, 12)
    assert (model.config.num_labels, model.config.num_token_types) == (
        3129 if name == "vilt_vqa" else 0,
        3 if name == "vilt_nlvr2" else 2,
    )


def test_the_key_files_are_all_covered() -> None:
    assert {path.stem for path in KEYS.glob("vilt_*.json")} == set(HEADS)


def test_a_published_file_with_its_companions(
    write: Write, vocabulary: Path, answers: Path, model: ViltModel, image: dict[str, Any]
) -> None:
    loaded = load_checkpoint(write(), tokenizer=vocabulary, labels=answers, task="vqa")
    assert loaded.labels == ("red", "green", "blue")
    assert loaded.config.heads == ("vqa", "itm")
    assert (loaded.config.num_heads, loaded.config.dropout, loaded.config.max_text_len) == (2, 0.2, 6)
    # Longer side: 1333/800 of the shorter; multiples of 32 whatever the patch size.
    assert loaded.image == image | {"longer_edge": 19, "size_divisor": 32}
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name


def test_all_that_lacks_is_named_at_once(write: Write, vocabulary: Path) -> None:
    path = write()
    with pytest.raises(ArtifactError, match=r"tokenizer \(12 words\).*--tokenizer.*3 answers.*--labels"):
        load_checkpoint(path)
    with pytest.raises(ArtifactError, match=r"does not hold the 3 answers") as caught:
        load_checkpoint(path, tokenizer=vocabulary)
    assert "--tokenizer" not in caught.value.message


def test_a_model_without_a_vqa_head_needs_no_answers(write: Write, vocabulary: Path) -> None:
    gone = dict.fromkeys(f"vqa_classifier.{layer}.{part}" for layer in (0, 1, 3) for part in ("weight", "bias"))
    loaded = load_checkpoint(write(gone), tokenizer=vocabulary)
    assert loaded.config.heads == ("itm",)
    assert loaded.labels is None


def test_the_answers_must_be_as_many_as_the_heads_outputs(write: Write, vocabulary: Path, answers: Path) -> None:
    answers.write_text(json.dumps(["yes", "no"]))
    with pytest.raises(ArtifactError, match=r"got 2 answers, but the model's head has 3 outputs"):
        load_checkpoint(write(), tokenizer=vocabulary, labels=answers)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pooler.dense.bias": None}, "1 missing: pooler.dense.bias"),
        ({"pooler.extra": torch.ones(1)}, "1 unexpected: pooler.extra"),
        ({"pooler.dense.bias": torch.ones(5)}, r"pooler.dense.bias \(got \[5\], expected \[8\]\)"),
        ({"transformer.pos_embed": None}, "missing transformer.pos_embed"),
        ({"transformer.patch_embed.proj.weight": None}, "no family that is known here"),
    ],
)
def test_names_and_shapes_are_strict(
    write: Write, vocabulary: Path, answers: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArtifactError, match=words):
        load_checkpoint(write(changes), tokenizer=vocabulary, labels=answers)


def test_heads_that_nobody_can_count_are_asked_for(write: Write, vocabulary: Path, answers: Path) -> None:
    with pytest.raises(ArtifactError, match="number of attention heads is unknown.*num_heads"):
        load_checkpoint(write(settings={}), tokenizer=vocabulary, labels=answers)


class _Payload:
    """Pickled by the test below: a file that would run code when opened carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the file ran')",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": _Payload()}, path)
    with pytest.raises(ArtifactError, match="it was not opened, because loading such a file runs code"):
        load_checkpoint(path, tokenizer=vocabulary)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict": {"a": 1}}, [1], {"epoch": 3}])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save(content, path)
    with pytest.raises(ArtifactError, match="expected a (state dict|dictionary with weights)"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken archive"])
def test_a_file_that_torch_did_not_write_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"odd.ckpt"):
        load_checkpoint(path)
