from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from vlp_models.checkpoints import load_checkpoint
from vlp_models.checkpoints.official_uniter import build_official_uniter
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.text import TextProcessor
from vlp_spec.errors import ArtifactError

KEYS = Path(__file__).parents[3] / "golden" / "official_keys"
HEADS = {
    "itm": ("itm", "rank"),
    "nlvr2_paired_attn": ("nlvr2",),
    "pretrain": ("itm", "mlm", "mrfr", "mrc"),
    "re": ("grounding",),
    "ve": ("entailment",),
    "vqa": ("vqa",),
}
SIZES = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096)}
NAMES = [f"uniter_{size}_{task}" for size in SIZES for task in HEADS]
SETTINGS = {"num_attention_heads": 2, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}

Write = Callable[..., Path]


def _tiny(**changes: Any) -> UniterModel:
    torch.manual_seed(0)
    config = UniterConfig(
        hidden_size=8,
        num_layers=2,
        num_heads=2,
        intermediate_size=12,
        vocab_size=12,
        max_positions=6,
        heads=("vqa",),
        region_size=5,
        num_labels=4,
    )
    model = UniterModel(replace(config, **changes))
    model.init_weights()
    return model.eval()


def _published(model: UniterModel) -> dict[str, Tensor]:
    """The model's weights under the published names, tied ones twice."""
    state = {name.replace("entailment_output", "vqa_output"): item for name, item in model.state_dict().items()}
    if "mlm" in model.config.heads:
        state["cls.predictions.decoder.weight"] = state["uniter.embeddings.word_embeddings.weight"]
    if "mrfr" in model.config.heads:
        state["feat_regress.weight"] = state["uniter.img_embeddings.img_linear.weight"]
    return state


def _assert_same(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(state: dict[str, Tensor], settings: dict[str, Any] | None = None) -> Path:
        path = tmp_path / "uniter.pt"
        torch.save({"state_dict": state, "hyper_parameters": SETTINGS if settings is None else settings}, path)
        return path

    return write_file


@pytest.mark.parametrize("name", NAMES)
def test_every_published_name_fits_at_full_size(name: str) -> None:
    shapes = json.loads((KEYS / f"{name}.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = build_official_uniter(state, {}, name).config
    _, size, task = name.split("_", 2)
    assert config.heads == HEADS[task]
    assert (config.hidden_size, config.num_layers, config.num_heads, config.intermediate_size) == SIZES[size]
    assert (config.vocab_size, config.max_positions, config.region_size) == (28996, 512, 2048)
    assert config.num_labels == (3129 if task == "vqa" else 0)
    assert config.num_token_types == (3 if task == "nlvr2_paired_attn" else 2)
    assert config.entailment_labels == (("contradiction", "entailment", "neutral") if task == "ve" else ())


def test_the_key_files_are_all_covered() -> None:
    assert {path.stem for path in KEYS.glob("uniter_*.json")} == set(NAMES)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"heads": ("entailment",), "num_labels": 0, "entailment_labels": ("contradiction", "entailment", "neutral")},
        {"heads": ("itm", "mlm", "mrfr", "mrc"), "num_labels": 0, "num_region_classes": 7},
        {"heads": ("nlvr2",), "num_labels": 0, "num_token_types": 3},
        {"heads": ("nlvr2",), "num_labels": 0, "num_token_types": 3, "nlvr2_variant": "paired"},
        {"heads": ("nlvr2",), "num_labels": 0, "nlvr2_variant": "triplet", "second_image_type": False},
        {"heads": ("vcr",), "num_labels": 0, "num_token_types": 4},
        {"heads": ("itm", "rank", "grounding"), "num_labels": 0},
    ],
)
def test_the_weights_say_what_the_model_is(changes: dict[str, Any]) -> None:
    model = _tiny(**changes)
    loaded = build_official_uniter(_published(model), SETTINGS, "x.pt")
    types = model.config.num_token_types > 2
    expected = replace(model.config, dropout=0.2, attention_dropout=0.3, second_image_type=types)
    assert loaded.config == expected
    _assert_same(loaded, model)
    assert not loaded.training


def test_whether_pictures_are_told_apart_may_be_said() -> None:
    model = _tiny(heads=("nlvr2",), num_labels=0, num_token_types=3)
    config = build_official_uniter(_published(model), SETTINGS | {"use_img_type": False}, "x.pt").config
    assert not config.second_image_type


def test_old_names_are_read() -> None:
    model = _tiny(heads=("itm",), num_labels=0)
    old = {}
    for name, tensor in _published(model).items():
        new = name.replace("uniter.", "bert.").replace("itm_output.", "ITM.")
        if "LayerNorm" in new or "layer_norm" in new:
            new = new.replace(".weight", ".gamma").replace(".bias", ".beta")
        old[new] = tensor
    old["bert.embeddings.position_ids"] = torch.arange(6)[None]
    assert {"ITM.bias", "bert.img_embeddings.pos_layer_norm.gamma"} <= old.keys()
    _assert_same(build_official_uniter(old, SETTINGS, "old.pt"), model)


def test_a_head_whose_weights_are_not_there_is_not_there() -> None:
    model = _tiny(heads=("itm", "mlm", "mrfr"), num_labels=0)
    state = {name: item for name, item in _published(model).items() if not name.startswith(("cls.", "itm_output"))}
    assert build_official_uniter(state, SETTINGS, "x.pt").config.heads == ("mrfr",)


def test_tied_weights_may_be_stored_once_and_must_agree() -> None:
    model = _tiny(heads=("mlm", "mrfr"), num_labels=0)
    _assert_same(build_official_uniter(model.state_dict(), SETTINGS, "x.pt"), model)
    state = _published(model)
    state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"] + 1
    with pytest.raises(ArtifactError, match=r"cls.predictions.decoder.weight and uniter.*their values differ"):
        build_official_uniter(state, SETTINGS, "x.pt")
    state["cls.predictions.decoder.weight"] = torch.zeros(3, 8)
    with pytest.raises(ArtifactError, match=r"their shapes are \[3, 8\], \[12, 8\]"):
        build_official_uniter(state, SETTINGS, "x.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"uniter.pooler.dense.bias": None}, "1 missing: uniter.pooler.dense.bias"),
        ({"uniter.pooler.extra": torch.ones(1)}, "1 unexpected: uniter.pooler.extra"),
        ({"vqa_output.0.weight": None}, "1 missing: vqa_output.0.weight"),
        ({"rank_output.weight": torch.ones(1, 8)}, "1 unexpected: rank_output.weight"),
        ({"uniter.pooler.dense.bias": torch.ones(5)}, r"uniter.pooler.dense.bias \(got \[5\], expected \[8\]\)"),
        ({"uniter.embeddings.position_embeddings.weight": None}, "missing uniter.embeddings.position_embeddings"),
        ({"bert.pooler.dense.bias": torch.ones(8)}, "uniter.pooler.dense.bias is there twice"),
    ],
)
def test_names_and_shapes_are_strict(changes: dict[str, Any], words: str) -> None:
    state = {name: item for name, item in (_published(_tiny()) | changes).items() if item is not None}
    with pytest.raises(ArtifactError, match=words):
        build_official_uniter(state, SETTINGS, "x.pt")


def test_what_the_sizes_do_not_tell_is_asked_for() -> None:
    with pytest.raises(ArtifactError, match="number of attention heads is unknown: the width 8"):
        build_official_uniter(_published(_tiny()), {}, "x.pt")
    with pytest.raises(ArtifactError, match="hidden_act is 'relu', only 'gelu'"):
        build_official_uniter(_published(_tiny()), SETTINGS | {"hidden_act": "relu"}, "x.pt")
    with pytest.raises(ArtifactError, match="not a multiple of num_heads 3"):
        build_official_uniter(_published(_tiny()), {"num_attention_heads": 3}, "x.pt")


def test_a_published_file_with_its_companions(write: Write, vocabulary: Path, tmp_path: Path) -> None:
    answers = tmp_path / "ans2label.json"
    answers.write_text(json.dumps({"net": 0, "pitcher": 1, "": 2, "yes": 3}))
    model = _tiny()
    loaded = load_checkpoint(write(_published(model)), tokenizer=vocabulary, labels=answers, task="vqa")
    assert loaded.labels == ("net", "pitcher", "", "yes")
    assert loaded.text == {"type": "bert", "max_length": 6}
    assert loaded.image == asdict(RegionSettings(region_size=5, max_regions=100))
    _assert_same(loaded.uniter, model)
    with pytest.raises(ArtifactError, match="a UNITER checkpoint, expected a ViLT checkpoint"):
        _ = loaded.vilt


def test_all_that_lacks_is_named_at_once(write: Write) -> None:
    with pytest.raises(ArtifactError, match=r"tokenizer \(12 words\).*--tokenizer.*4 answers.*--labels"):
        load_checkpoint(write(_published(_tiny())))


def test_another_order_of_the_entailment_labels_may_be_given(write: Write, vocabulary: Path, tmp_path: Path) -> None:
    labels = ("contradiction", "entailment", "neutral")
    path = write(_published(_tiny(heads=("entailment",), num_labels=0, entailment_labels=labels)))
    loaded = load_checkpoint(path, tokenizer=vocabulary, task="entailment")
    assert (loaded.uniter.config.entailment_labels, loaded.labels) == (labels, None)
    given = tmp_path / "labels.json"
    given.write_text(json.dumps(["no", "maybe", "yes"]))
    renamed = load_checkpoint(path, tokenizer=vocabulary, labels=given)
    assert renamed.uniter.config.entailment_labels == ("no", "maybe", "yes")
    given.write_text(json.dumps(["no", "no", "yes"]))
    with pytest.raises(ArtifactError, match=r"labels.json: entailment_labels: expected different names"):
        load_checkpoint(path, tokenizer=vocabulary, labels=given)


def test_a_bare_vocabulary_keeps_its_case(write: Write, tmp_path: Path) -> None:
    path = write(_published(_tiny(heads=("itm",), num_labels=0)))
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "What", "what", "É", "é", "e"]))

    def words() -> list[int]:
        content = load_checkpoint(path, tokenizer=vocabulary).tokenizer
        return TextProcessor.from_file(content.encode(), max_length=9).encode("What what É é").tolist()[1:-1]

    assert words() == [5, 6, 7, 8]
    # Settings beside it go before what UNITER does.
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    assert words() == [6, 6, 9, 9]


@pytest.mark.parametrize(("task", "head"), [("match", "rank"), ("reasoning", "nlvr2")])
def test_tasks_find_their_heads(write: Write, vocabulary: Path, task: str, head: str) -> None:
    path = write(_published(_tiny(heads=(head,), num_labels=0, num_token_types=3)))
    assert load_checkpoint(path, tokenizer=vocabulary, task=task).config.heads == (head,)
    with pytest.raises(ArtifactError, match="no head for the task 'grounding'"):
        load_checkpoint(path, tokenizer=vocabulary, task="grounding")
