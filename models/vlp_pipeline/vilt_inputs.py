"""What every ViLT pipeline does alike: a picture's patches and a text's ids become one row, and rows a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError

from vlp_pipeline.images import ImageLimits, open_picture
from vlp_pipeline.pipeline import Buckets, Item, Padding, PreparedImage, pad_batch, padded_sizes
from vlp_pipeline.text import TextProcessor
from vlp_pipeline.vilt_image import ViltImageProcessor

TEXT_AXIS, PATCH_AXIS = "text", "patches"


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
    text = {"input_ids": ids, "text_mask": np.ones_like(ids)}
    return Item({**image.arrays, **text}, {**image.sizes, TEXT_AXIS: len(ids)})


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


def check_axes(deployment: Deployment, texts: TextProcessor, images: ViltImageProcessor) -> None:
    """What the processors can produce must be what the graph takes.

    Raises:
        ArtifactError: a processor gives more than an axis allows.
    """
    for axis, size in {TEXT_AXIS: texts.max_length, PATCH_AXIS: images.max_patches}.items():
        limit = deployment.axes.get(axis)
        if limit is not None and limit.max < size:
            raise ArtifactError(
                f"deployment {deployment.name}@{deployment.version}: axis {axis!r} ends at {limit.max}, "
                f"its processor gives up to {size}"
            )
