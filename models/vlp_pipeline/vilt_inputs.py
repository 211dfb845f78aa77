"""What every ViLT pipeline does alike: a picture's patches and a text's ids become one row, and rows a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.repository import TOKENIZER_ASSET

from vlp_pipeline.deployment_fit import check_axes
from vlp_pipeline.images import ImageLimits, open_picture
from vlp_pipeline.pipeline import TEXT_AXIS, Buckets, Item, Padding, PreparedImage, join_text, pad_batch, padded_sizes
from vlp_pipeline.text import BertTextSettings, TextProcessor
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings

PATCH_AXIS = "patches"


def prepare_picture(processor: ViltImageProcessor, data: bytes, limits: ImageLimits) -> PreparedImage:
    """Decode, resize and cut a picture file.

    Raises:
        InvalidImageError: the bytes are no readable picture.
        TooLargeError: over a limit.
    """
    cut = processor.picture_patches(open_picture(data, limits))
    return PreparedImage(
        digest=hashlib.sha256(data).hexdigest(),
        arrays={"patches": cut.patches, "grid": cut.grid},
        sizes={PATCH_AXIS: len(cut.patches)},
    )


def join_pair(image: PreparedImage, ids: np.ndarray) -> Item:
    """A picture and a text, (tokens,) int32 with [CLS] and [SEP], as one row."""
    return join_text(ids, [image])


def pad_pairs(
    items: Sequence[Item], pad_id: int, min_sizes: Mapping[str, int], buckets: Buckets | None = None
) -> dict[str, np.ndarray]:
    """Stack rows into the inputs of ViLT's graph: patches, grid, input_ids, text_mask."""
    paddings = {
        "patches": Padding(PATCH_AXIS),
        "grid": Padding(),
        "input_ids": Padding(TEXT_AXIS, pad_id),
        "text_mask": Padding(TEXT_AXIS),
    }
    return pad_batch(items, paddings, padded_sizes(items, min_sizes, buckets))


def read_processors(
    deployment: Deployment, assets_dir: Path, prefixes: Sequence[str] = ("",)
) -> tuple[ViltImageProcessor, TextProcessor]:
    """Read a deployment's settings and tokenizer.

    Args:
        deployment: of a ViLT.
        assets_dir: where its assets lie.
        prefixes: before the names of each picture's inputs.

    Raises:
        ArtifactError: settings or tokenizer are broken, or give more than an axis of the graph allows.
    """
    images = ViltImageProcessor(ViltImageSettings.from_mapping(deployment.image))
    text_settings = BertTextSettings.from_mapping(deployment.text)
    texts = TextProcessor.from_file(assets_dir / TOKENIZER_ASSET, text_settings.max_length)
    patches = {f"{prefix}{PATCH_AXIS}": images.max_patches for prefix in prefixes}
    check_axes(deployment, {TEXT_AXIS: texts.max_length, **patches})
    return images, texts
