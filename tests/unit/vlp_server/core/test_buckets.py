import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.core.buckets import buckets_of
from vlp_spec.deployment import AxisLimit


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        (AxisLimit(1, 20, 40), [8, 16, 24, 32, 40]),
        (AxisLimit(1, 8, 8), [4, 8]),
        (AxisLimit(3, 8, 10), [4, 8, 10]),
        (AxisLimit(7, 8, 10), [8, 10]),
        (AxisLimit(1, 1, 1), [1]),
        (AxisLimit(10, 10, 10), [10]),
        (AxisLimit(1, 144, 240), [40, 80, 120, 160, 200, 240]),
        (AxisLimit(1, 100, 241), [44, 88, 132, 176, 220, 241]),
    ],
)
def test_sizes_rise_in_even_steps_to_the_largest(limit: AxisLimit, sizes: list[int]) -> None:
    assert buckets_of({"text": limit}) == {"text": sizes}


def test_only_axes_whose_padding_a_mask_hides_have_buckets() -> None:
    limit = AxisLimit(1, 8, 8)
    masked = ["text", "patches", "regions", "left_patches", "right_regions"]
    others = ["batch", "texts", "height", "width", "past", "candidates"]
    assert set(buckets_of(dict.fromkeys(masked + others, limit))) == set(masked)


@given(st.integers(1, 2000).flatmap(lambda most: st.tuples(st.integers(1, most), st.just(most))))
def test_every_size_that_an_axis_may_have_fits_into_a_bucket(bounds: tuple[int, int]) -> None:
    least, most = bounds
    sizes = buckets_of({"text": AxisLimit(least, most, most)})["text"]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == most
    assert sizes[0] >= least
    assert len(sizes) <= 6
