import io

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.text import TextLimits
from vlp_server.engines.dummy import NAN_TOKEN
from vlp_server.engines.dummy_deployment import DUMMY_LABELS, build_dummy_deployment
from vlp_server.engines.dummy_pipeline import DummyVqaPipeline
from vlp_spec.errors import InvalidArgumentError, InvalidImageError, TooLargeError
from vlp_spec.tasks import VqaQuery


@pytest.fixture
def pipeline():
    return DummyVqaPipeline(build_dummy_deployment("dummy"), ImageLimits(), TextLimits())


def picture(size=(70, 40)):
    data = io.BytesIO()
    Image.new("RGB", size, (10, 20, 30)).save(data, "PNG")
    return data.getvalue()


def test_a_picture_becomes_cells_of_mean_colour(pipeline):
    image = pipeline.prepare_image(picture())
    assert image.arrays["grid"].tolist() == [1, 2]
    assert image.arrays["patches"].tolist() == [[10, 20, 30]] * 2
    assert image.sizes == {"patches": 2}


def test_a_huge_picture_is_cut_to_the_axis_limit(pipeline):
    assert pipeline.prepare_image(picture((2000, 2000))).sizes == {"patches": 256}


def test_magic_words_become_magic_tokens(pipeline):
    item = pipeline.prepare(pipeline.prepare_image(picture()), VqaQuery("is it [NAN] here"))
    assert item.arrays["input_ids"][2] == NAN_TOKEN
    assert item.sizes == {"patches": 2, "text": 4}


def test_collate_pads_with_zeros_and_result_ranks(pipeline):
    image = pipeline.prepare_image(picture())
    batch = pipeline.collate([pipeline.prepare(image, VqaQuery(q)) for q in ("a", "a b c")])
    assert batch["input_ids"].shape == (2, 3)
    assert batch["text_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    logits = np.zeros(len(DUMMY_LABELS), dtype=np.float32)
    logits[3] = 5
    assert pipeline.result(VqaQuery("a", top_k=1), {"logits": logits}).answers[0].answer == DUMMY_LABELS[3]


def test_bad_input_is_refused_as_by_a_real_model(pipeline):
    with pytest.raises(InvalidImageError):
        pipeline.prepare_image(b"no picture")
    image = pipeline.prepare_image(picture())
    with pytest.raises(TooLargeError):
        pipeline.prepare(image, VqaQuery("x" * 5000))
    with pytest.raises(InvalidArgumentError):
        pipeline.prepare(image, VqaQuery("x", candidates=("no such answer",)))
