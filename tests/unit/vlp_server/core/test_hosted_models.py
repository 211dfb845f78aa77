from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from vlp_server.core.settings import EngineSettings, ModelSettings
from vlp_server.engines.dummy import FAIL_TOKEN, NAN_TOKEN
from vlp_spec.errors import DeadlineError, InferenceError, ModelNotFoundError, UnavailableError
from vlp_spec.tasks import Lane

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))

from service_rig import Rig
from vlp_zoo import zoo_path

GROUNDING = "scenes-uniter-grounding"


def dummy(name: str) -> ModelSettings:
    return ModelSettings(reference=name, engine=EngineSettings(engine="dummy"))


def feeds(rows: int, text: int = 3, token: int = 1) -> dict[str, NDArray[Any]]:
    """Of the dummy's graph; every row says something else."""
    ids = np.full((rows, text), token, np.int32) + np.arange(rows, dtype=np.int32)[:, None] * (token < 1000)
    return {
        "patches": np.full((rows, 4, 3), 7, np.uint8),
        "grid": np.full((rows, 2), 2, np.int32),
        "input_ids": ids,
        "text_mask": np.ones((rows, text), np.int32),
    }


async def test_every_graph_and_every_task_is_a_model_but_decoders() -> None:
    async with Rig(dummy("dummy"), dummy("dummy-encoder"), dummy("dummy-captioner")) as rig:
        assert [one.name for one in rig.service.hosted.all()] == [
            "dummy-captioner-cross",
            "dummy-captioner-vision",
            "dummy-captioner.caption",
            "dummy-encoder-image",
            "dummy-encoder-text",
            "dummy-encoder.classify",
            "dummy-encoder.embeddings",
            "dummy-fusion",
            "dummy.vqa",
        ]


async def test_a_version_is_found_and_another_is_not() -> None:
    async with Rig() as rig:
        hosted = rig.service.hosted
        assert (
            hosted.find("dummy-fusion")
            == hosted.find("dummy-fusion", "1")
            == next(iter(hosted.versions("dummy-fusion")))
        )
        for name, version in (("dummy-fusion", "2"), ("dummy-fusion", "01"), ("dummy", ""), ("", ""), ("x" * 9999, "")):
            with pytest.raises(ModelNotFoundError):
                hosted.find(name, version)
        assert hosted.versions("nothing") == []


async def test_while_models_load_nobody_is_told_that_there_is_none() -> None:
    rig = Rig()
    await rig.service.start()
    try:
        with pytest.raises(UnavailableError, match="loading"):
            rig.service.hosted.find("dummy-fusion")
    finally:
        await rig.service.close()


async def test_rows_come_back_in_their_order_alone_and_together() -> None:
    async with Rig() as rig:
        hosted = rig.service.hosted
        fusion = hosted.find("dummy-fusion")
        together = await hosted.run_graph(fusion, feeds(5))
        alone = [
            await hosted.run_graph(fusion, {name: array[row : row + 1] for name, array in feeds(5).items()})
            for row in range(5)
        ]
        shorter, longer = await asyncio.gather(
            hosted.run_graph(fusion, feeds(2, text=3)), hosted.run_graph(fusion, feeds(2, text=9))
        )
    assert together.model == "dummy@1"
    assert len(together.batches) == len(together.rows) == 5
    for row, one in zip(together.rows, alone, strict=True):
        np.testing.assert_array_equal(row["logits"], one.rows[0]["logits"])
    np.testing.assert_array_equal(shorter.rows[1]["logits"], together.rows[1]["logits"])
    assert not np.array_equal(longer.rows[1]["logits"], shorter.rows[1]["logits"])
    assert rig.value("vlpserve_requests_total", task="graph", outcome="ok") == 8


async def test_padding_of_a_batch_is_cut_off_again() -> None:
    root = zoo_path() / "repository"
    with np.load(root / "deployments" / GROUNDING / "1" / "canary.npz") as arrays:
        given = {name.removeprefix("input."): arrays[name][:1] for name in arrays.files if name.startswith("input.")}
    regions = given["region_mask"].shape[1]
    less = {name: array[:, : regions - 1] if name.startswith("region") else array for name, array in given.items()}
    async with Rig(ModelSettings(reference=GROUNDING, repository=root)) as rig:
        hosted = rig.service.hosted
        fusion = hosted.find(f"{GROUNDING}-fp32")
        alone = await hosted.run_graph(fusion, less)
        # One goes at once; those behind it are computed together.
        replies = await asyncio.gather(*(hosted.run_graph(fusion, one) for one in (given, given, less, given, less)))
    assert max(size for reply in replies for size in reply.batches) > 1
    assert [reply.rows[0]["grounding_logits"].shape for reply in replies] == [
        (size,) for size in (regions, regions, regions - 1, regions, regions - 1)
    ]
    for reply in (replies[2], replies[4]):
        assert reply.rows[0]["grounding_boxes"].shape == (regions - 1, 4)
        np.testing.assert_allclose(reply.rows[0]["grounding_logits"], alone.rows[0]["grounding_logits"], atol=1e-4)


@pytest.mark.parametrize("token", [FAIL_TOKEN, NAN_TOKEN])
async def test_a_row_that_the_graph_fails_on_hurts_no_other_request(token: int) -> None:
    async with Rig() as rig:
        hosted = rig.service.hosted
        fusion = hosted.find("dummy-fusion")
        bad, good = await asyncio.gather(
            hosted.run_graph(fusion, feeds(2, token=token)),
            hosted.run_graph(fusion, feeds(2)),
            return_exceptions=True,
        )
    assert isinstance(bad, InferenceError)
    assert not isinstance(good, BaseException)
    assert len(good.rows) == 2


async def test_deadlines_count_for_graphs_too() -> None:
    async with Rig() as rig:
        hosted = rig.service.hosted
        with pytest.raises(DeadlineError):
            await hosted.run_graph(hosted.find("dummy-fusion"), feeds(1), deadline=0.0, lane=Lane.BULK)
