from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoProcessor
from transformers.utils import logging as transformers_logging
from vlp_models.checkpoints import hub, load_checkpoint, save_checkpoint
from vlp_models.checkpoints.blip_tokenizer import blip_token_ids, with_blip_tokens
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import TokenIds
from vlp_models.families.dual_encoder_config import CLIP_MEAN, CLIP_STD
from vlp_pipeline.text import TextProcessor
from vlp_spec.errors import ArtifactError

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))  # tests are imported one by one, not as packages
from transformers_blips import CLASSES, CLS, END, FUSE, PAD, START, WORDS, publish, publish_apart, transformers_blip

IMAGE = {"type": "clip", "height": 24, "width": 24, "resample": "bicubic"}
WORD_TABLE = "text_decoder.bert.embeddings.word_embeddings.weight"
WORD_HEAD = "text_decoder.cls.predictions.decoder.weight"
WORD_BIAS = "text_decoder.cls.predictions.bias"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()
    transformers_logging.set_verbosity(level)


@pytest.fixture
def captioner(tmp_path: Path) -> Path:
    return publish(transformers_blip("caption"), tmp_path / "captioner")


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file, those of objects one by one; None takes a key away."""
    values = json.loads(path.read_text()) if path.exists() else {}
    for key, value in changes.items():
        values[key] = values.get(key, {}) | value if isinstance(value, dict) else value
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def exchange(folder: Path, changes: dict[str, Tensor | None]) -> None:
    """Change weights; None takes one away."""
    state: dict[str, Any] = load_file(folder / "model.safetensors") | changes
    save_file({name: item for name, item in state.items() if item is not None}, folder / "model.safetensors")


def assert_same_weights(ours: BlipModel, theirs: BlipModel) -> None:
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize(("head", "prompt"), [("caption", "a picture of "), ("vqa", ""), ("match", "")])
@pytest.mark.parametrize("named", [True, False])
def test_each_class_is_read(head: str, prompt: str, named: bool, tmp_path: Path) -> None:
    """By its name in config.json, or else by its weights."""
    theirs = transformers_blip(head)
    publish(theirs, tmp_path)
    if not named:
        edit(tmp_path / "config.json", architectures=None)
    loaded = load_checkpoint(tmp_path, task=head)
    config = loaded.blip.config
    assert (config.heads, config.tied_words) == ((head,), True)
    assert config.tokens == TokenIds(start=START, fuse=FUSE, cls=CLS, end=END, pad=PAD)
    assert (config.prompt, config.max_text_len, loaded.labels) == (prompt, 35, None)
    assert (config.pixel_mean, config.pixel_std) == (CLIP_MEAN, CLIP_STD)
    assert (loaded.image, loaded.text) == (IMAGE, {"type": "bert", "max_length": 35})
    ours, state = loaded.blip.state_dict(), theirs.state_dict()
    assert state.keys() - ours.keys() == ({WORD_HEAD, f"{WORD_HEAD[:-6]}bias"} if head != "match" else set())
    assert ours.keys() - state.keys() == ({"logit_scale"} if head == "match" else set())
    assert all(torch.equal(ours[name], tensor) for name, tensor in state.items() if name in ours)
    assert not any(item.is_meta for item in [*loaded.blip.parameters(), *loaded.blip.buffers()])


def test_texts_are_as_long_as_the_positions_allow(tmp_path: Path) -> None:
    publish(transformers_blip("match", {"max_position_embeddings": 20}), tmp_path)
    assert load_checkpoint(tmp_path).text["max_length"] == 20


@pytest.mark.parametrize("task", ["match", "embeddings", "classify"])
def test_a_matcher_has_embeddings_too(task: str, tmp_path: Path) -> None:
    publish(transformers_blip("match"), tmp_path)
    assert load_checkpoint(tmp_path, task=task).blip.logit_scale.item() == pytest.approx(2.6592)
    with pytest.raises(ArtifactError, match="no head for the task 'caption'; its heads: match"):
        load_checkpoint(tmp_path, task="caption")
    with pytest.raises(ArtifactError, match="a BLIP checkpoint, expected a ViLT checkpoint"):
        _ = load_checkpoint(tmp_path).vilt


@pytest.mark.parametrize("head", list(CLASSES))
def test_what_is_saved_is_read_again_and_by_transformers(head: str, tmp_path: Path) -> None:
    loaded = load_checkpoint(publish(transformers_blip(head), tmp_path / "theirs"))
    model, tokenizer = loaded.blip, loaded.tokenizer
    own: dict[str, Any] = {"prompt": "look : ", "max_text_len": 9, "generation": {"max_tokens": 7, "num_beams": 2}}
    model.config = replace(model.config, pixel_mean=(0.1, 0.2, 0.3), **own)
    answers = ("w1", "w2 w3") if head == "vqa" else None
    save_checkpoint(tmp_path / "ours", model, tokenizer=tokenizer, image=loaded.image, labels=answers)
    again = load_checkpoint(tmp_path / "ours")
    assert replace(again.blip.config, hf=model.config.hf) == model.config
    assert (again.labels, again.tokenizer, again.image) == (answers, tokenizer, loaded.image)
    assert_same_weights(again.blip, model)

    theirs, report = CLASSES[head].from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    assert report["unexpected_keys"] == ({"logit_scale"} if head == "match" else set())
    original = transformers_blip(head).state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in theirs.state_dict().items())
    text = theirs.config.text_config
    assert (text.bos_token_id, text.sep_token_id, text.pad_token_id) == (START, END, PAD)
    processor = AutoProcessor.from_pretrained(tmp_path / "ours")
    expected = TextProcessor.from_file(tokenizer.encode(), max_length=9).encode("w3 w4").tolist()
    assert processor.tokenizer("w3 w4")["input_ids"] == expected
    assert processor.tokenizer.decode([START, *expected, FUSE], skip_special_tokens=True) == "w3 w4"
    assert tuple(processor.image_processor.image_mean) == (0.1, 0.2, 0.3)


def test_a_model_of_several_heads_is_one_directory_for_two_classes(tmp_path: Path) -> None:
    loaded = load_checkpoint(publish(transformers_blip("caption"), tmp_path / "theirs"))
    model = BlipModel(replace(loaded.blip.config, heads=("caption", "match")))
    save_checkpoint(tmp_path / "both", model, tokenizer=loaded.tokenizer, image=loaded.image, storage="float16")
    assert {item.dtype for item in load_file(tmp_path / "both" / "model.safetensors").values()} == {torch.float16}
    again = load_checkpoint(tmp_path / "both", task="match")
    assert again.blip.config.heads == ("caption", "match")
    torch.testing.assert_close(again.blip.itm_head.weight, model.itm_head.weight, atol=1e-3, rtol=0)
    classes = [CLASSES[head].__name__ for head in ("caption", "match")]
    assert json.loads((tmp_path / "both" / "config.json").read_text())["architectures"] == classes
    for head in ("caption", "match"):
        _, report = CLASSES[head].from_pretrained(tmp_path / "both", output_loading_info=True)
        assert not report["missing_keys"]


def test_answers_of_the_checkpoint_and_others_instead(tmp_path: Path) -> None:
    publish(transformers_blip("vqa"), tmp_path)
    edit(tmp_path / "config.json", vlpserve={"answers": ["w1", "w2"]})
    assert load_checkpoint(tmp_path).labels == ("w1", "w2")
    (tmp_path / "other.json").write_text(json.dumps({"label2id": {"w9": 0}}))
    assert load_checkpoint(tmp_path, labels=tmp_path / "other.json").labels == ("w9",)


def test_what_does_not_fit_is_not_saved(captioner: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(captioner)
    crop = loaded.image | {"shortest_edge": 30}
    with pytest.raises(ArtifactError, match=r"24x24 pixels out of larger.*; labels: got 1, but the model answers"):
        save_checkpoint(tmp_path / "x", loaded.blip, tokenizer=loaded.tokenizer, image=crop, labels=["w1"])
    bare = (captioner / "vocab.txt").read_text().splitlines()
    other = tmp_path / "vocab.txt"
    other.write_text("\n".join([*bare, "w99"]))
    for content, words in (
        (load_checkpoint(captioner).tokenizer.replace("[ENC]", "[OTHER]"), r"lacks \[DEC\] or \[ENC\]"),
        (with_blip_tokens(_tokenizer(other)), rf"start={START + 1}.* but the model's are .*start={START}"),
    ):
        with pytest.raises(ArtifactError, match=words):
            save_checkpoint(tmp_path / "x", loaded.blip, tokenizer=content, image=loaded.image)
    assert not (tmp_path / "x").exists()


def _tokenizer(vocabulary: Path) -> str:
    from vlp_models.checkpoints.tokenizer_source import read_tokenizer

    return read_tokenizer(vocabulary, 1000)


def test_a_word_head_that_is_stored_a_second_time_or_instead(captioner: Path) -> None:
    theirs = transformers_blip("caption").state_dict()
    both = {WORD_TABLE: theirs[WORD_TABLE].clone(), WORD_HEAD: theirs[WORD_HEAD].clone()}
    counted = {"text_decoder.bert.embeddings.position_ids": torch.arange(40)[None]}
    exchange(captioner, both | counted)
    assert torch.equal(load_checkpoint(captioner).blip.state_dict()[WORD_TABLE], theirs[WORD_TABLE])
    exchange(captioner, {WORD_TABLE: None})
    assert torch.equal(load_checkpoint(captioner).blip.state_dict()[WORD_TABLE], theirs[WORD_TABLE])


@pytest.mark.parametrize("head", ["caption", "vqa"])
def test_a_word_head_of_its_own_is_kept(head: str, tmp_path: Path) -> None:
    """Whether config.json says so or not, and through our own directory, which it does say so in."""
    publish_apart(transformers_blip(head), tmp_path / "theirs")
    stored = load_file(tmp_path / "theirs" / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "theirs")
    assert not loaded.blip.config.tied_words
    save_checkpoint(tmp_path / "ours", loaded.blip, tokenizer=loaded.tokenizer, image=loaded.image)
    values = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert [part["tie_word_embeddings"] for part in (values, values["text_config"])] == [False, False]
    again = load_checkpoint(tmp_path / "ours").blip
    assert replace(again.config, hf=loaded.blip.config.hf) == loaded.blip.config
    assert_same_weights(again, loaded.blip)
    state = again.state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in state.items())


def test_a_word_head_that_has_not_moved_yet_stays_apart_where_the_configuration_says_so(captioner: Path) -> None:
    table = transformers_blip("caption").state_dict()[WORD_TABLE]
    exchange(captioner, {WORD_TABLE: table.clone(), WORD_HEAD: table.clone()})
    edit(captioner / "config.json", text_config={"tie_word_embeddings": False})
    assert load_checkpoint(captioner).blip.config.tied_words  # transformers ties where either of the two says so
    edit(captioner / "config.json", tie_word_embeddings=False)
    model = load_checkpoint(captioner).blip
    assert not model.config.tied_words
    assert torch.equal(model.state_dict()[WORD_HEAD], table)
    exchange(captioner, {WORD_HEAD: None})
    with pytest.raises(ArtifactError, match=f"1 missing: {WORD_HEAD}"):
        load_checkpoint(captioner)


def test_a_word_head_of_another_vocabulary_is_refused(captioner: Path) -> None:
    exchange(captioner, {WORD_HEAD: torch.zeros(5, 32)})
    with pytest.raises(ArtifactError, match=rf"1 other shape: {WORD_HEAD} \(got \[5, 32\], expected \[32, 32\]\)"):
        load_checkpoint(captioner)


def test_of_two_biases_the_decoder_s_counts(captioner: Path) -> None:
    second = torch.arange(len(WORDS) + 2.0)
    exchange(captioner, {f"{WORD_HEAD[:-6]}bias": second})
    assert torch.equal(load_checkpoint(captioner).blip.state_dict()[WORD_BIAS], second)
    exchange(captioner, {WORD_BIAS: None})
    assert torch.equal(load_checkpoint(captioner).blip.state_dict()[WORD_BIAS], second)


def test_the_published_tokens_stand_behind_the_vocabulary(captioner: Path) -> None:
    content = load_checkpoint(captioner).tokenizer
    assert blip_token_ids(content) == TokenIds(start=30, fuse=31, cls=2, end=3, pad=0)
    assert with_blip_tokens(content) == content
    # Special ones are no words of a text.
    assert TextProcessor.from_file(content.encode(), 9).encode("w1 [ENC]").tolist() == [CLS, 6, FUSE, END]


def test_tokens_that_a_vocabulary_has_elsewhere_keep_their_ids(captioner: Path) -> None:
    words = ["[ENC]", *WORDS, "[DEC]"]
    (captioner / "vocab.txt").write_text("\n".join(words))
    edit(captioner / "config.json", text_config={"bos_token_id": len(words) - 1, "sep_token_id": 4})
    tokens = load_checkpoint(captioner).blip.config.tokens
    assert tokens == TokenIds(start=len(words) - 1, fuse=0, cls=3, end=4, pad=1)


def test_a_start_that_nobody_set_is_no_contradiction(captioner: Path) -> None:
    """transformers' default is the id in BERT's vocabulary, which this model's is too small for."""
    edit(captioner / "config.json", text_config={"bos_token_id": 30522})
    assert load_checkpoint(captioner).blip.config.tokens.start == START


def test_a_start_that_is_another_word_is_refused(captioner: Path) -> None:
    edit(captioner / "config.json", text_config={"bos_token_id": 7})
    with pytest.raises(ArtifactError, match=r"\[DEC\].* has the id 30 in the tokenizer, .*bos_token_id is 7; give"):
        load_checkpoint(captioner)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*WORDS, "w98"], r"\[DEC\] has the id 31 and \[ENC\] 32, but the model knows 32 words; give the tokenizer"),
        ([*WORDS, "w98", "w98", "w99"], r"\[DEC\] or \[ENC\] would share the id of another"),
        ([*WORDS, "w97", "w98", "w99"], "the tokenizer has 33 words, but the model knows 32"),
        (WORDS[3:], r"lacks \[CLS\], \[PAD\], \[UNK\]"),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(words: list[str], message: str, captioner: Path) -> None:
    (captioner / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(ArtifactError, match=message) as caught:
        load_checkpoint(captioner)
    assert str(captioner) in caught.value.message


def test_settings_of_the_processor(captioner: Path) -> None:
    """With what published files say besides, which the processor never read."""
    values = {"size": {"height": 24, "width": 24}, "resample": 2, "image_std": [0.5, 0.6, 0.7], "do_pad": True}
    published = {"image_processor_type": "BlipImageProcessor", "processor_class": "BlipProcessor", "size_divisor": 32}
    edit(captioner / "preprocessor_config.json", **values, **published)
    loaded = load_checkpoint(captioner)
    assert loaded.image == IMAGE | {"resample": "bilinear"}
    assert (loaded.blip.config.pixel_mean, loaded.blip.config.pixel_std) == (CLIP_MEAN, (0.5, 0.6, 0.7))
    assert loaded.blip.pixel_std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        (
            "preprocessor_config.json",
            {"size": {"height": 48, "width": 48}},
            "48x48 pixels, the model reads 24x24",
        ),
        ("preprocessor_config.json", {"size": {"shortest_edge": 24}}, "without a centre crop"),
        ("preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor"}, "supported: BlipImageProcessor"),
        ("config.json", {"vision_config": {"image_size": [24, 24]}}, r"image_size is \[24, 24\]: only squares"),
        ("config.json", {"vision_config": {"patch_size": 6}}, "2 other shape: vision_model.embeddings.patch_embedding"),
        ("config.json", {"text_config": {"num_hidden_layers": 3}}, "26 missing: text_decoder.bert.encoder.layer.2"),
        ("config.json", {"text_config": {"num_attention_heads": 5}}, "width 32 is no multiple of 5 heads"),
        ("config.json", {"text_config": {"hidden_act": "relu"}}, "hidden_act is 'relu', only gelu is supported"),
        ("config.json", {"text_config": {"vocab_size": "many"}}, "config.json: not a configuration of blip"),
        ("config.json", {"architectures": ["BlipForQuestionAnswering"]}, "56 missing: text_encoder"),
        ("config.json", {"vlpserve": {"heads": ["caption", "song"]}}, "heads: 'song' is none of caption, vqa, match"),
        (
            "config.json",
            {"vlpserve": {"heads": "caption"}},
            "heads: got 'caption', expected a list of strings",
        ),
        ("config.json", {"vlpserve": {"max_text_len": 99}}, "max_text_len is 99, the model has 40 positions"),
        ("config.json", {"vlpserve": {"max_text_len": True}}, "vlpserve.max_text_len: got True, expected int"),
        ("config.json", {"vlpserve": {"prompts": ""}}, "vlpserve: unknown key prompts; expected heads, max_text_len"),
        ("config.json", {"vlpserve": 3}, "vlpserve: got int; expected heads"),
        ("config.json", {"vlpserve": {"generation": {"max_tokens": "x"}}}, "vlpserve.generation.max_tokens: got 'x'"),
        ("config.json", {"vlpserve": {"generation": 7}}, "vlpserve.generation: got 7, expected max_tokens"),
    ],
)
def test_what_does_not_fit_is_refused(file: str, changes: dict[str, Any], words: str, captioner: Path) -> None:
    edit(captioner / file, **changes)
    with pytest.raises(ArtifactError, match=words) as caught:
        load_checkpoint(captioner)
    assert str(captioner) in caught.value.message


def test_one_decoder_does_not_look_at_two_widths(tmp_path: Path) -> None:
    publish(transformers_blip("caption", hidden_size=24), tmp_path)
    edit(tmp_path / "config.json", vlpserve={"heads": ["caption", "vqa"]})
    with pytest.raises(ArtifactError, match="one decoder cannot look at pictures and at questions of another width"):
        load_checkpoint(tmp_path)


def test_the_first_blip_class_of_transformers_is_none_of_them(captioner: Path) -> None:
    edit(captioner / "config.json", architectures=["BlipModel"])
    save_file({"text_model.embeddings.word_embeddings.weight": torch.zeros(2)}, captioner / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"the classes \['BlipModel'\].*supported: BlipForConditionalGeneration"):
        load_checkpoint(captioner)


def test_a_hub_id_as_the_published_ones_are_laid_out(
    captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytorch_model.bin with everything stored twice, a vocabulary without the tokens, an old config.json."""
    state = transformers_blip("caption").state_dict()
    state |= {WORD_HEAD: state[WORD_HEAD].clone(), "text_decoder.bert.embeddings.position_ids": torch.arange(40)[None]}
    torch.save(state, captioner / "pytorch_model.bin")
    (captioner / "model.safetensors").unlink()
    old = {"model_type": "blip_text_model", "eos_token_id": 2, "max_length": 20, "num_beams": 1, "torch_dtype": None}
    edit(captioner / "config.json", text_config=old, torch_dtype="float32", transformers_version=None, _commit_hash="")
    patterns: list[str] = []

    def download(_repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert revision is None
        patterns.extend(allow_patterns)
        return str(captioner)

    monkeypatch.setattr(hub, "snapshot_download", download)
    loaded = load_checkpoint("Salesforce/blip-image-captioning-base", task="caption")
    assert loaded.source == "Salesforce/blip-image-captioning-base"
    assert loaded.blip.config.prompt == "a picture of "
    assert {"*.json", "vocab.txt", "pytorch_model.bin"} <= set(patterns)
