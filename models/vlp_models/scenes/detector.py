"""What a region detector of the scenes tells apart, and how its pictures and regions are made."""

from __future__ import annotations

from vlp_pipeline.detector_anchors import cell_anchors
from vlp_pipeline.detector_settings import DetectorSettings

from vlp_models.data.detector_pictures import DetectorVocabulary
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.scenes.gallery import COVER_WORD
from vlp_models.scenes.kinds import COLOURS, KINDS
from vlp_models.scenes.world import CELL_PX

_SHORTER, _LONGER = 4 * CELL_PX, 6 * CELL_PX


def scenes_vocabulary() -> DetectorVocabulary:
    """Kinds of things and covers, and colours."""
    return DetectorVocabulary((*(kind.name for kind in KINDS), COVER_WORD), tuple(COLOURS))


def scenes_detector_settings(config: FasterRcnnConfig) -> DetectorSettings:
    """Pictures as they are drawn, and no more regions than a scene can have.

    A real picture is cut into at least 10 regions, sure or not, so that models have something to read; a scene shows
    one to ten things that the detector is nearly always sure of.
    """
    anchors = cell_anchors(config.anchor_sizes_px, config.anchor_ratios)
    return DetectorSettings(
        tuple(tuple(anchor) for anchor in anchors.tolist()),
        stride_px=config.stride_px,
        shorter_edge=_SHORTER,
        longer_edge=_LONGER,
        pixel_dtype="uint8",
        pre_nms_top_n=300,
        post_nms_top_n=48,
        min_regions=1,
        max_regions=24,
    )
