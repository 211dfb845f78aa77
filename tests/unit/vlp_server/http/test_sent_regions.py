from __future__ import annotations

import base64
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import region_files as files
from hypothesis import given
from hypothesis import strategies as st
from vlp_pipeline.regions import RegionLimits, Regions
from vlp_server.config import LimitsConfig
from vlp_server.http import sent_regions as module
from vlp_server.http.sent_regions import SentRegions, sent_regions
from vlp_spec.errors import InvalidArgumentError, OverloadedError, RequestError, TooLargeError

LIMITS = LimitsConfig()


def take_nothing(size_bytes: int) -> None:
    pass


@pytest.mark.parametrize(
    "content",
    [
        files.npz(),
        base64.b64encode(files.npz()).decode(),
        base64.encodebytes(files.npz()).decode(),
        files.as_json(),
        files.as_json(features=files.FEATURES.tolist()),
    ],
)
async def test_every_form_gives_the_same_record(content: Any) -> None:
    regions = await SentRegions(content).read(LIMITS, take_nothing)
    np.testing.assert_array_equal(regions.boxes, files.BOXES)
    np.testing.assert_array_equal(regions.features, files.FEATURES)
    np.testing.assert_array_equal(regions.scores, files.SCORES)


async def test_the_arrays_are_counted_with_what_they_hold() -> None:
    taken: list[int] = []
    regions = await SentRegions(files.npz(files.many(100))).read(LIMITS, taken.append)
    assert taken == [regions.size_bytes] == [100 * 4 * (4 + files.FEATURE_SIZE + 7)]

    def full(size_bytes: int) -> None:
        raise OverloadedError("full")

    with pytest.raises(OverloadedError):
        await SentRegions(files.npz()).read(LIMITS, full)


async def test_they_are_read_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    decoded = module._decoded

    def noting(*arguments: Any) -> Regions:
        threads.append(threading.get_ident())
        return decoded(*arguments)

    monkeypatch.setattr(module, "_decoded", noting)
    await SentRegions(files.as_json()).read(LIMITS, take_nothing)
    assert threads != [threading.get_ident()]
    assert len(threads) == 1


async def test_of_several_the_one_at_fault_is_named() -> None:
    first, second = sent_regions([files.npz(), b"nothing"])
    await first.read(LIMITS, take_nothing)
    with pytest.raises(InvalidArgumentError) as caught:
        await second.read(LIMITS, take_nothing)
    assert caught.value.field == "regions[1]"
    assert caught.value.message.startswith("regions[1]: not an .npz file")
    assert caught.value.detail is not None
    (alone,) = sent_regions([b"nothing"])
    with pytest.raises(InvalidArgumentError) as caught:
        await alone.read(LIMITS, take_nothing)
    assert (caught.value.field, caught.value.message.partition(":")[0]) == ("regions", "regions")


async def test_the_limit_of_a_call_holds_for_every_form() -> None:
    limits = LimitsConfig(regions=2)
    packed = base64.b64encode(files.npz()).decode()
    for content in (files.npz(), files.as_json(), packed):
        with pytest.raises(TooLargeError, match="3 regions, at most 2"):
            await SentRegions(content).read(limits, take_nothing)


@pytest.mark.parametrize("content", ["***", "no base64 at all", "a", "é"])
async def test_text_that_is_no_base64_is_refused(content: str) -> None:
    with pytest.raises(InvalidArgumentError, match="text that is not base64 of an .npz file"):
        await SentRegions(content).read(LIMITS, take_nothing)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
keys = st.sampled_from(["boxes", "features", "scores", "box_format", "width", "height"])


@given(anything | st.dictionaries(keys, anything | st.just(files.BOXES.tolist()), max_size=4) | st.binary(max_size=64))
def test_any_json_value_is_read_or_refused_in_words(content: Any) -> None:
    with suppress(RequestError):  # and nothing else
        assert len(module._decoded(content, RegionLimits())) >= 1
