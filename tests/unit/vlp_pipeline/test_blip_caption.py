from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from blip_manifests import (
    CAT,
    COMMA,
    DEC,
    OF,
    PAD,
    PICTURE,
    POSITIONS,
    RED,
    SEP,
    TWO,
    A,
    S,
    blip_deployment,
    write_blip_assets,
)
from PIL import Image
from vlp_pipeline.blip_caption import BlipCaptionPipeline
from vlp_pipeline.generation import GeneratedText
from vlp_pipeline.generative import CaptionPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_pipeline.text import TextLimits
from vlp_spec.errors import ArtifactError, InternalError, InvalidArgumentError, TooLargeError
from vlp_spec.tasks import CaptionQuery, Decoding


@pytest.fixture
def pipeline(tmp_path: Path) -> CaptionPipeline:
    built = build_pipeline(blip_deployment("caption"), write_blip_assets(tmp_path))
    assert isinstance(built, BlipCaptionPipeline)
    return built


def test_a_picture_is_resized_to_the_models_square(pipeline: CaptionPipeline, save_picture, picture) -> None:  # type: ignore[no-untyped-def]
    data = save_picture(picture, "PNG")
    prepared = pipeline.prepare_image(data)
    expected = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(prepared.arrays["pixels"], expected)
    batch = pipeline.collate([pipeline.vision_item(prepared)] * 2)
    assert {name: array.shape for name, array in batch.items()} == {"pixels": (2, 8, 8, 3)}


def test_states_go_on_to_the_graphs_behind(pipeline: CaptionPipeline) -> None:
    states = np.ones((5, 6), np.float32)
    item = pipeline.cross_item({"image_states": states})
    assert (item.role, item.arrays["seen_states"] is states) == ("cross", True)
    cross = {"cross_key_0": np.zeros((2, 5, 3), np.float32), "cross_value_0": np.ones((2, 5, 3), np.float32)}
    looked_at = pipeline.looked_at(cross)
    assert looked_at.arrays == {"at_key_0": cross["cross_key_0"], "at_value_0": cross["cross_value_0"]}


def test_rows_of_different_graphs_are_no_batch(pipeline: CaptionPipeline) -> None:
    cross = pipeline.cross_item({"image_states": np.ones((5, 6), np.float32)})
    decoder = type(cross)({}, {}, "decoder")
    with pytest.raises(InternalError):
        pipeline.collate([cross, decoder])
    with pytest.raises(InternalError):
        pipeline.collate([type(cross)({}, {}, "fusion")])


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("", [DEC, A, PICTURE, OF]),
        ("  ", [DEC, A, PICTURE, OF]),
        ("Two RED cats", [DEC, TWO, RED, CAT, S]),
        (" cat ", [DEC, CAT]),
    ],
)
def test_a_text_begins_with_dec_and_the_prompt_alone(pipeline: CaptionPipeline, prompt: str, ids: list[int]) -> None:
    begun = pipeline.begin(CaptionQuery(prompt))
    assert begun.dtype == np.int32
    assert begun.tolist() == ids


def test_prompts_that_cannot_be_gone_on_with(pipeline: CaptionPipeline, tmp_path: Path) -> None:
    assert len(pipeline.begin(CaptionQuery("cat " * (POSITIONS - 1)))) == POSITIONS
    with pytest.raises(TooLargeError, match="prompt: 12 tokens, the model reads and writes 11 at most"):
        pipeline.begin(CaptionQuery("cat " * POSITIONS))
    with pytest.raises(InvalidArgumentError, match="prompt: holds no readable character") as caught:
        pipeline.begin(CaptionQuery("\x00"))
    assert caught.value.field == "prompt"
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        pipeline.begin(CaptionQuery("cat \ud800"))
    short = BlipCaptionPipeline.from_deployment(
        blip_deployment("caption"), write_blip_assets(tmp_path), text_limits=TextLimits(5)
    )
    with pytest.raises(TooLargeError, match="prompt: 6 characters"):
        short.begin(CaptionQuery("cat ca"))


def test_a_plan_never_leaves_the_models_positions(pipeline: CaptionPipeline) -> None:
    plan = pipeline.plan(CaptionQuery(), 4)
    assert (plan.max_tokens, plan.min_tokens, plan.num_beams, plan.num_texts) == (6, 1, 3, 1)
    assert (plan.end_id, plan.pad_id, plan.repetition_penalty) == (SEP, PAD, 1.5)
    # The last token is written and never read.
    assert pipeline.plan(CaptionQuery(), POSITIONS).max_tokens == 1
    assert pipeline.plan(CaptionQuery(), POSITIONS - 2).max_tokens == 3
    asked = CaptionQuery(decoding=Decoding(max_tokens=9))
    assert pipeline.plan(asked, 4).max_tokens == 9
    with pytest.raises(InvalidArgumentError, match="max_tokens: got 9, .* room for 8") as caught:
        pipeline.plan(asked, 5)
    assert caught.value.field == "max_tokens"


def test_the_models_own_beginning_is_no_part_of_the_text_and_the_callers_is(pipeline: CaptionPipeline) -> None:
    tokens = [TWO, RED, CAT, S, COMMA, A, CAT]
    assert pipeline.text_of(CaptionQuery(), tokens) == "two red cats, a cat"
    assert pipeline.text_of(CaptionQuery(" A Picture: "), tokens) == "A Picture: two red cats, a cat"
    assert pipeline.text_of(CaptionQuery("The Cat"), [S, COMMA, TWO]) == "The Cats, two"
    assert pipeline.text_of(CaptionQuery("cat"), []) == "cat"
    assert pipeline.text_of(CaptionQuery(), []) == ""


def test_a_text_only_grows_while_it_is_written(pipeline: CaptionPipeline) -> None:
    tokens = [S, TWO, COMMA, CAT, S, A, OF, COMMA]
    for query in (CaptionQuery(), CaptionQuery("Red cat")):
        shown = [pipeline.text_of(query, tokens[:count]) for count in range(len(tokens) + 1)]
        for before, after in zip(shown, shown[1:], strict=False):
            assert after.startswith(before)


def test_captions_come_in_their_order_with_their_scores(pipeline: CaptionPipeline) -> None:
    texts = [GeneratedText((RED, CAT), -1.5, 3, ended=True), GeneratedText((TWO,), -0.2, 1, ended=False)]
    captions = pipeline.result(CaptionQuery(), texts).captions
    assert [caption.text for caption in captions] == ["red cat", "two"]
    assert [caption.score for caption in captions] == pytest.approx([np.exp(-0.5), np.exp(-0.2)])


def test_manifests_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assets = write_blip_assets(tmp_path)
    with pytest.raises(ArtifactError, match="deployment.head: missing key max_tokens"):
        build_pipeline(blip_deployment("caption", head={"prompt": "a"}), assets)
    with pytest.raises(ArtifactError, match=r"pixels is \('batch', 8, 8, 3\) in the graph, here \('batch', 9, 8, 3\)"):
        build_pipeline(blip_deployment("caption", image={"type": "clip", "height": 9, "width": 8}), assets)
    text = (assets / "tokenizer.json").read_text()
    (assets / "tokenizer.json").write_text(text.replace("[DEC]", "[XXX]"))
    with pytest.raises(ArtifactError, match=r"tokenizer: its vocabulary of 14 lacks \[DEC\]"):
        build_pipeline(blip_deployment("caption"), assets)


def test_the_tokens_are_those_of_the_tokenizer(pipeline: CaptionPipeline) -> None:
    inputs = cast(BlipCaptionPipeline, pipeline).inputs
    assert (inputs.start_id, inputs.fuse_id, inputs.text_processor.cls_id) == (13, 2, 3)
