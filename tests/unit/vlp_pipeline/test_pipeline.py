import numpy as np
import pytest
from vlp_pipeline.pipeline import Item, Padding, PreparedImage, pad_batch, padded_sizes
from vlp_spec.errors import InternalError


def item(text: int, patches: int) -> Item:
    arrays = {"ids": np.arange(1, text + 1, dtype=np.int32), "pixels": np.full((patches, 2), 7, dtype=np.uint8)}
    return Item(arrays, {"text": text, "patches": patches})


def test_sizes_are_the_largest_of_each_axis() -> None:
    assert padded_sizes([item(3, 9), item(5, 2)], {}) == {"text": 5, "patches": 9}
    assert padded_sizes([item(3, 9)], {"text": 4, "patches": 1, "batch": 1}) == {"text": 4, "patches": 9}


def test_sizes_grow_to_the_next_bucket() -> None:
    buckets = {"text": [4, 8, 16], "batch": [1, 8]}
    assert padded_sizes([item(3, 9)], {}, buckets) == {"text": 4, "patches": 9}
    assert padded_sizes([item(8, 9), item(5, 1)], {}, buckets) == {"text": 8, "patches": 9}
    assert padded_sizes([item(9, 9)], {}, buckets)["text"] == 16
    assert padded_sizes([item(1, 1)], {"text": 5}, buckets)["text"] == 8


def test_an_item_over_the_last_bucket_is_our_fault() -> None:
    with pytest.raises(InternalError) as caught:
        padded_sizes([item(17, 1)], {}, {"text": [4, 16]})
    assert caught.value.detail == "axis 'text' needs 17, its buckets are (4, 16)"


def test_padding_follows_the_content() -> None:
    paddings = {"ids": Padding("text", fill=-1), "pixels": Padding("patches")}
    batch = pad_batch([item(1, 2), item(3, 1)], paddings, {"text": 4, "patches": 2})
    assert batch["ids"].tolist() == [[1, -1, -1, -1], [1, 2, 3, -1]]
    assert batch["pixels"].tolist() == [[[7, 7], [7, 7]], [[7, 7], [0, 0]]]
    assert (batch["ids"].dtype, batch["pixels"].dtype) == (np.int32, np.uint8)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in batch.values())


def test_inputs_of_one_size_are_stacked() -> None:
    items = [Item({"grid": np.array([1, 2])}, {}), Item({"grid": np.array([3, 4])}, {})]
    assert pad_batch(items, {"grid": Padding()}, {})["grid"].tolist() == [[1, 2], [3, 4]]


def test_prepared_images_are_equal_by_content() -> None:
    one, two = (PreparedImage("ab", {"x": np.zeros(size, np.uint8)}, {"patches": size}) for size in (3, 5))
    assert one == two
    assert len({one, two, PreparedImage("cd", {}, {})}) == 2
    assert (one.size_bytes, two.size_bytes) == (3, 5)
