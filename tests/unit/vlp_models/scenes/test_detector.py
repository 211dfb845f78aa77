from __future__ import annotations

import numpy as np
from vlp_models.data.detector_pictures import NO_ATTRIBUTE
from vlp_models.data.records import parse_record
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.scenes.dataset import draw_picture
from vlp_models.scenes.detector import scenes_detector_settings, scenes_vocabulary
from vlp_models.scenes.gallery import COVER_WORD
from vlp_models.scenes.kinds import COLOURS, KINDS
from vlp_pipeline.detector_image import DetectorImageProcessor
from vlp_pipeline.images import decode_image

PICTURES = [draw_picture("train", index, gallery=True) for index in range(16)]


def test_the_vocabulary_names_everything_in_the_gallery() -> None:
    vocabulary = scenes_vocabulary()
    assert len(vocabulary.classes) == len(set(vocabulary.classes)) == len(KINDS) + 1
    assert len(vocabulary.attributes) == len(COLOURS)
    seen = set()
    for picture in PICTURES:
        record = parse_record(picture.record)
        for region in record.regions:
            number = vocabulary.class_of(region)
            assert number is not None
            assert vocabulary.classes[number] in region.words
            attribute = vocabulary.attribute_of(region)
            if vocabulary.classes[number] == COVER_WORD:
                assert attribute == NO_ATTRIBUTE
            else:
                assert vocabulary.attributes[attribute] in region.words
            seen.add(vocabulary.classes[number])
    assert COVER_WORD in seen
    assert len(seen) > 10


def test_pictures_are_read_as_they_are_drawn() -> None:
    vocabulary = scenes_vocabulary()
    config = FasterRcnnConfig.scenes(len(vocabulary.classes), len(vocabulary.attributes))
    processor = DetectorImageProcessor(scenes_detector_settings(config))
    sizes = set()
    for picture in PICTURES:
        pixels = decode_image(picture.jpeg)
        prepared = processor.prepare(pixels)
        assert prepared.pixels.dtype == np.uint8
        np.testing.assert_array_equal(prepared.pixels[0], pixels[..., ::-1].transpose(2, 0, 1))
        sizes.add(pixels.shape[:2])
    assert len(sizes) > 1


def test_there_is_room_for_everything_that_a_scene_can_show() -> None:
    config = FasterRcnnConfig.scenes(5, 5)
    settings = scenes_detector_settings(config)
    most = max(len(picture.record["regions"]) for picture in PICTURES)
    assert settings.min_regions <= 1 < most <= settings.max_regions <= settings.post_nms_top_n
    assert settings.stride_px == config.stride_px


def test_the_anchors_are_those_of_the_model() -> None:
    config = FasterRcnnConfig.scenes(5, 5)
    settings = scenes_detector_settings(config)
    assert FasterRcnn(config).anchored(settings) == settings
