import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.pipeline import VqaPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_pipeline.text import TextLimits
from vlp_spec.deployment import AxisLimit, Deployment
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError, InvalidImageError, TooLargeError
from vlp_spec.tasks import VqaQuery

Save = Callable[..., bytes]


@pytest.fixture
def pipeline(deployment: Deployment, assets_dir: Path) -> VqaPipeline:
    return build_pipeline(deployment, assets_dir)


@pytest.fixture
def wide(save_picture: Save) -> bytes:
    """Becomes 16x8 pixels: 2 rows and 4 columns of patches."""
    return save_picture(Image.new("RGB", (40, 20), (1, 2, 3)), "PNG")


@pytest.fixture
def square(save_picture: Save) -> bytes:
    """Becomes 8x8 pixels: 2 rows and 2 columns of patches."""
    return save_picture(Image.new("RGB", (30, 30), (4, 5, 6)), "PNG")


def test_a_picture_becomes_patches(pipeline: VqaPipeline, wide: bytes) -> None:
    image = pipeline.prepare_image(wide)
    assert pipeline.family == "vilt"
    assert image.digest == hashlib.sha256(wide).hexdigest()
    assert image.sizes == {"patches": 8}
    assert image.arrays["grid"].tolist() == [2, 4]
    assert image.arrays["patches"].shape == (8, 48)
    assert image.arrays["patches"].reshape(-1, 3).tolist() == [[1, 2, 3]] * 128
    assert image == pipeline.prepare_image(wide)


def test_two_questions_share_a_picture_and_a_batch_is_padded(pipeline: VqaPipeline, wide: bytes, square: bytes) -> None:
    first, second = pipeline.prepare_image(wide), pipeline.prepare_image(square)
    items = [
        pipeline.prepare(first, VqaQuery("what colour is the cats?")),
        pipeline.prepare(first, VqaQuery("red")),
        pipeline.prepare(second, VqaQuery("the cat")),
    ]
    assert items[0].arrays["patches"] is items[1].arrays["patches"]
    assert [item.sizes for item in items] == [
        {"patches": 8, "text": 9},
        {"patches": 8, "text": 3},
        {"patches": 4, "text": 4},
    ]
    batch = pipeline.collate(items)
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "patches": ("uint8", (3, 8, 48)),
        "grid": ("int32", (3, 2)),
        "input_ids": ("int32", (3, 9)),
        "text_mask": ("int32", (3, 9)),
    }
    assert batch["input_ids"].tolist()[1:] == [[2, 12, 3, 0, 0, 0, 0, 0, 0], [2, 8, 9, 3, 0, 0, 0, 0, 0]]
    assert batch["text_mask"].sum(axis=1).tolist() == [9, 3, 4]
    assert batch["grid"].tolist() == [[2, 4], [2, 4], [2, 2]]
    assert not batch["patches"][2, 4:].any()


def test_a_short_batch_is_padded_to_what_the_graph_takes(pipeline: VqaPipeline, square: bytes) -> None:
    batch = pipeline.collate([pipeline.prepare(pipeline.prepare_image(square), VqaQuery("red"))])
    assert batch["input_ids"].tolist() == [[2, 12, 3, 0]]
    assert batch["text_mask"].tolist() == [[1, 1, 1, 0]]


def test_buckets(pipeline: VqaPipeline, square: bytes) -> None:
    item = pipeline.prepare(pipeline.prepare_image(square), VqaQuery("red"))
    batch = pipeline.collate([item, item], {"text": [6, 10], "patches": [6, 8], "batch": [4]})
    assert batch["input_ids"].shape == (2, 6)
    assert batch["patches"].shape == (2, 6, 48)


def test_a_padding_token_with_another_id_fills_the_text(
    deployment: Deployment, assets_dir: Path, square: bytes
) -> None:
    raw = json.loads((assets_dir / "tokenizer.json").read_text())
    vocabulary = raw["model"]["vocab"]
    vocabulary["[PAD]"], vocabulary["[MASK]"] = vocabulary["[MASK]"], vocabulary["[PAD]"]
    for token in raw["added_tokens"]:
        token["id"] = vocabulary[token["content"]]
    (assets_dir / "tokenizer.json").write_text(json.dumps(raw))
    pipeline = build_pipeline(deployment, assets_dir)
    batch = pipeline.collate([pipeline.prepare(pipeline.prepare_image(square), VqaQuery("red"))])
    assert batch["input_ids"].tolist() == [[2, 12, 3, 4]]


def test_the_result_ranks_the_logits(pipeline: VqaPipeline) -> None:
    row = {"logits": np.array([0, 0, 5, 4, 0], dtype=np.float32)}
    result = pipeline.result(VqaQuery("what?", top_k=2), row)
    assert [answer.answer for answer in result.answers] == ["red", "green"]
    with pytest.raises(InferenceError, match="no 'logits' among"):
        pipeline.result(VqaQuery("what?"), {"scores": row["logits"]})


@pytest.mark.parametrize("question", ["\x00\x01", "\u200b", "\x7f"])
def test_a_question_without_a_readable_character(question: str, pipeline: VqaPipeline, square: bytes) -> None:
    image = pipeline.prepare_image(square)
    with pytest.raises(InvalidArgumentError, match="no readable character") as caught:
        pipeline.prepare(image, VqaQuery(question))
    assert caught.value.field == "question"


def test_a_question_of_too_many_characters(deployment: Deployment, assets_dir: Path, square: bytes) -> None:
    pipeline = build_pipeline(deployment, assets_dir, text_limits=TextLimits(max_chars=12))
    image = pipeline.prepare_image(square)
    assert pipeline.prepare(image, VqaQuery("cat cat cat?")).sizes["text"] == 6
    with pytest.raises(TooLargeError, match="question: 13 characters"):
        pipeline.prepare(image, VqaQuery("cat cat cat ?"))


def test_a_question_of_ten_thousand_words(pipeline: VqaPipeline, square: bytes) -> None:
    image = pipeline.prepare_image(square)
    with pytest.raises(TooLargeError, match="at most 4096"):
        pipeline.prepare(image, VqaQuery("cat " * 10_000))
    assert pipeline.prepare(image, VqaQuery("cat " * 1000)).sizes["text"] == 10


def test_half_a_surrogate_pair_in_a_question(pipeline: VqaPipeline, square: bytes) -> None:
    image = pipeline.prepare_image(square)
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        pipeline.prepare(image, VqaQuery("cat \udc00"))


def test_unknown_candidates_are_refused_before_the_model_runs(pipeline: VqaPipeline, square: bytes) -> None:
    image = pipeline.prepare_image(square)
    assert pipeline.prepare(image, VqaQuery("cat", candidates=("Yes", "no"))).sizes["text"] == 3
    with pytest.raises(InvalidArgumentError, match="'perhaps'"):
        pipeline.prepare(image, VqaQuery("cat", candidates=("yes", "perhaps")))


def test_picture_limits_are_the_pipelines(deployment: Deployment, assets_dir: Path, square: bytes) -> None:
    pipeline = build_pipeline(deployment, assets_dir, ImageLimits(max_side=29))
    with pytest.raises(TooLargeError, match="30x30"):
        pipeline.prepare_image(square)
    with pytest.raises(InvalidImageError):
        pipeline.prepare_image(b"no picture")


@pytest.mark.parametrize("name", ["tokenizer.json", "labels.json"])
def test_a_missing_asset(name: str, deployment: Deployment, assets_dir: Path) -> None:
    (assets_dir / name).unlink()
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        build_pipeline(deployment, assets_dir)


def test_settings_are_strict(deployment: Deployment, assets_dir: Path) -> None:
    with pytest.raises(ArtifactError, match=r"deployment\.image: unknown key crop"):
        build_pipeline(dataclasses.replace(deployment, image={**deployment.image, "crop": 1}), assets_dir)
    with pytest.raises(ArtifactError, match=r"deployment\.text: unknown key lower"):
        build_pipeline(dataclasses.replace(deployment, text={**deployment.text, "lower": 1}), assets_dir)


def test_labels_that_do_not_fit_the_graph(deployment: Deployment, assets_dir: Path) -> None:
    (assets_dir / "labels.json").write_text('["yes", "no"]')
    with pytest.raises(ArtifactError, match=r"labels\.json has 2 answers, the graph 5"):
        build_pipeline(deployment, assets_dir)


@pytest.mark.parametrize(
    ("axis", "message"), [("text", "ends at 3, .* up to 10"), ("patches", "ends at 3, .* up to 8")]
)
def test_processors_that_give_more_than_the_graph_takes(
    axis: str, message: str, deployment: Deployment, assets_dir: Path
) -> None:
    axes = {**deployment.axes, axis: AxisLimit(1, 2, 3)}
    with pytest.raises(ArtifactError, match=message):
        build_pipeline(dataclasses.replace(deployment, axes=axes), assets_dir)
