from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.checkpoints.checkpoint import GivenFiles
from vlp_models.checkpoints.official_blip import is_official_blip, read_official_blip
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import TokenIds
from vlp_models.families.dual_encoder_config import CLIP_MEAN, CLIP_STD
from vlp_models.layers.med_block import KeysValues
from vlp_spec.errors import ArtifactError

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))  # tests are imported one by one, not as packages
from published_blip import BASE, LARGE, TINY, PublishedBlip, Sizes, published_shapes, published_state

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "cat", "dog", "red", "blue"]
START, FUSE, CLS, END = 12, 13, 2, 3
HEADS = {
    "caption": ("caption",),
    "vqa": ("vqa",),
    "retrieval": ("match",),
    "nlvr": ("reasoning",),
    "pretrain": ("caption", "match"),
}
Write = Callable[[dict[str, Any]], Path]
ATOL = 1e-4


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: dict[str, Any]) -> Path:
        torch.save(content, tmp_path / "blip.pth")
        return tmp_path / "blip.pth"

    return write_file


@pytest.fixture
def both(write: Write, words: Path) -> Callable[[str], tuple[BlipModel, PublishedBlip]]:
    """Our reading of a published file, and what the published code makes of it."""

    def read(kind: str) -> tuple[BlipModel, PublishedBlip]:
        state = published_state(kind)
        model = load_checkpoint(write({"model": state}), tokenizer=words).blip
        assert model.config.heads == HEADS[kind]
        return model, PublishedBlip(state)

    return read


def pixels(count: int = 2) -> Tensor:
    return torch.randn(count, 3, TINY.image_size, TINY.image_size, generator=torch.Generator().manual_seed(1))


def texts(first: int) -> tuple[Tensor, Tensor]:
    """Two texts of 6 and 4 tokens, and their mask."""
    ids = torch.tensor([[first, 5, 6, 7, 8, END], [first, 10, 9, END, 0, 0]])
    return ids, (ids != 0).long()


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.flatten(1).std(0).max() > 0.05, "outputs so flat that mistakes would hide"
    torch.testing.assert_close(ours, theirs, atol=ATOL, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["caption", "pretrain"])
def test_captioning(kind: str, both: Callable[[str], tuple[BlipModel, PublishedBlip]]) -> None:
    model, published = both(kind)
    state = dict(published.state)
    # The published captioner ties the two, and the word head comes later in a file.
    state["text_decoder.bert.embeddings.word_embeddings.weight"] = state["text_decoder.cls.predictions.decoder.weight"]
    published = PublishedBlip(state)
    ids, mask = texts(START)
    looked = published.image_states(pixels())
    assert_same(model.encode_image(pixels()), looked)
    expected = published.word_logits(published.read("text_decoder.bert", ids, mask, looked, causal=True))
    given = mask.bool()
    assert_same(model(pixels(), ids)[given], expected[given])


@torch.no_grad()
def test_vqa_looks_at_the_question_s_own_tokens_alone(
    both: Callable[[str], tuple[BlipModel, PublishedBlip]],
) -> None:
    model, published = both("vqa")
    questions, mask = texts(FUSE)
    answers, answers_mask = texts(START)
    looked = published.image_states(pixels())
    states = published.read("text_encoder", questions, mask, looked)
    hidden = published.read("text_decoder.bert", answers, answers_mask, states, mask, causal=True)
    cross = model.text_encoder.cross_states(model.encode_image(pixels()))
    seen, seen_mask = model.question_states(questions[:, None], mask[:, None], cross)
    seen = [KeysValues(item.keys[:, 0], item.values[:, 0]) for item in seen]
    given = answers_mask.bool()
    ours = model.decode(answers[:, None], seen, seen_mask[:, 0])[:, 0]
    assert_same(ours[given], published.word_logits(hidden)[given])
    blind = model.decode(answers[:, None], seen)[:, 0]
    assert (blind - ours).abs().amax(-1)[given].tolist()[-1] > 10 * ATOL, "the mask of the shorter question matters"


@torch.no_grad()
@pytest.mark.parametrize("kind", ["retrieval", "pretrain"])
def test_matching_and_embeddings(kind: str, both: Callable[[str], tuple[BlipModel, PublishedBlip]]) -> None:
    model, published = both(kind)
    looked = published.image_states(pixels())
    ids, mask = texts(FUSE)
    cross = model.text_encoder.cross_states(model.encode_image(pixels()))
    itm = published.linear("itm_head", published.read("text_encoder", ids, mask, looked)[:, 0])
    assert_same(model.itm_logits(ids[:, None], mask[:, None], cross)[:, 0], itm)
    ids, mask = texts(CLS)
    assert_same(
        model.text_embeds(ids, mask), published.linear("text_proj", published.read("text_encoder", ids, mask)[:, 0])
    )
    assert_same(model.image_embeds(looked), published.linear("vision_proj", looked[:, 0]))
    assert math.isclose(model.logit_scale.exp().item(), 1 / 0.05, rel_tol=1e-5)


@torch.no_grad()
def test_nlvr2_joins_two_pictures_by_mean_and_then_by_a_layer(
    both: Callable[[str], tuple[BlipModel, PublishedBlip]],
) -> None:
    model, published = both("nlvr")
    assert (model.config.merged_from, model.config.hf.text_config.num_hidden_layers) == (6, 8)
    ids, mask = texts(FUSE)
    pair = (published.image_states(pixels()), published.image_states(pixels().flip(0, 3)))
    hidden = published.read("text_encoder", ids, mask, pair)[:, 0]
    expected = published.linear("cls_head.2", published.linear("cls_head.0", hidden).relu())
    left, right = (model.side_states(states, right=right) for states, right in zip(pair, (False, True), strict=True))
    assert_same(model.reasoning_logits(ids, mask, left, right), expected)


@pytest.mark.parametrize(
    ("kind", "sizes", "count", "parameters", "max_text_len"),
    [
        ("caption", BASE, 150 + 324, 224.0, 35),
        ("vqa", BASE, 150 + 317 + 324, 361.2, 35),
        ("retrieval", BASE, 2 * (150 + 317 + 4) + 3 + 4, 223.7, 35),
        ("retrieval", LARGE, 2 * (294 + 317 + 4) + 3 + 4, 446.1, 35),
        ("nlvr", BASE, 150 + 5 + 12 * 34 + 6 * 2 + 4, None, 512),
        ("pretrain", BASE, 2 * (150 + 317 + 4) + 3 + 3 + 324, None, 35),
    ],
)
def test_every_published_size_is_read_from_its_names(
    kind: str, sizes: Sizes, count: int, parameters: float | None, max_text_len: int, tmp_path: Path
) -> None:
    """Names without values. Parameters, in millions, are what transformers' classes have at that size."""
    shapes = published_shapes(kind, sizes)
    assert len(shapes) == count
    words = tmp_path / "vocab.txt"
    words.write_text("\n".join([*WORDS[:5], *(f"w{number}" for number in range(30522 - 5))]))
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    loaded = read_official_blip(Path("model.pth"), state, {}, GivenFiles(tokenizer=words))
    config, hf = loaded.blip.config, loaded.blip.config.hf
    assert config.heads == HEADS[kind]
    assert config.tokens == TokenIds(start=30522, fuse=30523, cls=2, end=3, pad=0)
    assert (config.max_text_len, config.image_size, config.patch_size) == (max_text_len, 384, 16)
    assert (config.pixel_mean, config.pixel_std) == (CLIP_MEAN, CLIP_STD)
    assert config.prompt == ("a picture of " if "caption" in config.heads else "")
    assert (hf.vision_config.num_attention_heads, hf.text_config.num_attention_heads) == (sizes.vision_width // 64, 12)
    assert (hf.vision_config.layer_norm_eps, hf.text_config.layer_norm_eps) == (1e-6, 1e-12)
    assert loaded.image == {"type": "clip", "height": 384, "width": 384, "resample": "bicubic"}
    assert loaded.text == {"type": "bert", "max_length": max_text_len}
    if parameters is not None:
        assert sum(item.numel() for item in loaded.blip.parameters()) / 1e6 == pytest.approx(parameters, abs=0.06)


def test_a_vqa_of_another_picture_size(write: Write, words: Path) -> None:
    """The published VQA models were trained at 480 pixels: positions tell."""
    state = published_state("vqa")
    state["visual_encoder.pos_embed"] = torch.randn(1, 1 + 3 * 3, TINY.vision_width)
    assert load_checkpoint(write({"model": state}), tokenizer=words).blip.config.image_size == 24


def test_the_decoder_of_a_large_vqa_looks_at_texts(write: Write, words: Path) -> None:
    """Pictures of another width than texts: transformers' classes have no such model."""
    sizes = Sizes(64, 1, 14, 20, 128, 1, 16, 8, 10, 6)
    model = load_checkpoint(write({"model": published_state("vqa", sizes)}), tokenizer=words).blip
    assert model.text_decoder.bert.blocks[0].crossattention["self"].key.in_features == 64
    assert model.text_encoder.blocks[0].crossattention["self"].key.in_features == 128


def test_what_was_read_is_saved_and_read_again(write: Write, words: Path, tmp_path: Path) -> None:
    for kind in HEADS:
        loaded = load_checkpoint(write({"model": published_state(kind)}), tokenizer=words)
        target = tmp_path / kind
        save_checkpoint(target, loaded.blip, tokenizer=loaded.tokenizer, image=loaded.image)
        again = load_checkpoint(target)
        for part in ("text_config", "vision_config"):
            assert getattr(again.blip.config.hf, part) == getattr(loaded.blip.config.hf, part)
        assert replace(again.blip.config, hf=loaded.blip.config.hf) == loaded.blip.config
        assert (again.tokenizer, again.text, again.image) == (loaded.tokenizer, loaded.text, loaded.image)
        state = again.blip.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.blip.state_dict().items())


def test_answers_are_given_where_it_is_to_choose_among_them(write: Write, words: Path, tmp_path: Path) -> None:
    path = write({"model": published_state("vqa")})
    assert load_checkpoint(path, tokenizer=words).labels is None
    (tmp_path / "answers.json").write_text(json.dumps(["red", "blue", "cat"]))
    assert load_checkpoint(path, tokenizer=words, labels=tmp_path / "answers.json").labels == ("red", "blue", "cat")
    (tmp_path / "answers.json").write_text(json.dumps({"cat": 1, "dog": 0}))
    assert load_checkpoint(path, tokenizer=words, labels=tmp_path / "answers.json").labels == ("dog", "cat")
    (tmp_path / "answers.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"answers.json: not one answer in it"):
        load_checkpoint(path, tokenizer=words, labels=tmp_path / "answers.json")


def test_a_bare_state_dict_and_the_number_of_heads_in_it(write: Write, words: Path) -> None:
    state = published_state("caption")
    assert load_checkpoint(write(state), tokenizer=words).blip.config.hf.text_config.num_attention_heads == 2
    settings = {"num_attention_heads": 4, "vision_num_attention_heads": 8}
    hf = load_checkpoint(write({"model": state, "hyper_parameters": settings}), tokenizer=words).blip.config.hf
    assert (hf.text_config.num_attention_heads, hf.vision_config.num_attention_heads) == (4, 8)


def test_albef_is_none_of_them() -> None:
    state = published_state("retrieval")
    assert is_official_blip(state)
    assert not is_official_blip(state | {"text_encoder.embeddings.token_type_embeddings.weight": torch.zeros(2, 4)})


def _without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if key != name}


def test_what_lacks_or_does_not_fit_is_refused(write: Write, words: Path, tmp_path: Path) -> None:
    state = published_state("caption")
    with pytest.raises(
        ArtifactError, match=r"does not hold the tokenizer \(14 words, .*bert-base-uncased.*--tokenizer"
    ):
        load_checkpoint(write(state))
    with pytest.raises(ArtifactError, match=r"1 missing: text_decoder.bert.encoder.layer.1.output.dense.bias"):
        load_checkpoint(write(_without(state, "text_decoder.bert.encoder.layer.1.output.dense.bias")), tokenizer=words)
    with pytest.raises(ArtifactError, match=r"1 unexpected: vision_model.adapter.weight"):
        load_checkpoint(write(state | {"visual_encoder.adapter.weight": torch.zeros(2)}), tokenizer=words)
    with pytest.raises(ArtifactError, match=r"not a whole BLIP .*vision_model.embeddings.position_embedding"):
        load_checkpoint(write(_without(state, "visual_encoder.pos_embed")), tokenizer=words)
    apart = {"text_decoder.cls.predictions.decoder.weight": torch.zeros(TINY.words, TINY.width)}
    with pytest.raises(
        ArtifactError, match=r"decoder.weight and .*word_embeddings.weight are one weight .* they differ"
    ):
        load_checkpoint(write(state | apart), tokenizer=words)
    (tmp_path / "more.txt").write_text("\n".join([*WORDS, "green"]))
    with pytest.raises(ArtifactError, match=r"\[DEC\] has the id 13 and \[ENC\] 14, but the model knows 14 words"):
        load_checkpoint(write(state), tokenizer=tmp_path / "more.txt")


def test_a_width_that_does_not_tell_the_heads(write: Write, words: Path) -> None:
    sizes = Sizes(96, 1, 14, 20, 128, 1, 16, 8, 10, 6)
    state = published_state("caption", sizes)
    with pytest.raises(ArtifactError, match="the width 96 is not a multiple of 64; store it as hyper_parameters"):
        load_checkpoint(write(state), tokenizer=words)
    model = load_checkpoint(write({"model": state, "hyper_parameters": {"num_attention_heads": 3}}), tokenizer=words)
    assert model.blip.config.hf.text_config.num_attention_heads == 3
