import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.engines.base import LoadedGraph
from vlp_server.engines.dummy import FAIL_TOKEN, NAN_TOKEN, POISON_TOKEN, STALL_TOKEN, DummyEngine, DummyFailure
from vlp_server.engines.dummy_deployment import build_dummy_canary, build_dummy_deployment
from vlp_server.engines.settings import EngineSettings
from vlp_spec.errors import InternalError


def make_engine():
    deployment = build_dummy_deployment("dummy")
    engine = DummyEngine(EngineSettings(engine="dummy"))
    engine.load(LoadedGraph("k", deployment.graphs[0], Path(), deployment.axes))
    return engine


def feeds_of(rows, width=None):
    width = width or max(len(row) for row in rows)
    ids = np.array([list(row) + [0] * (width - len(row)) for row in rows], dtype=np.int32)
    return {
        "patches": np.ones((len(rows), 2, 3), dtype=np.uint8),
        "grid": np.full((len(rows), 2), 1, dtype=np.int32),
        "input_ids": ids,
        "text_mask": (ids != 0).astype(np.int32),
    }


rows_of_ids = st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=6), min_size=1, max_size=5)


@given(rows_of_ids, st.integers(0, 4))
def test_a_row_gives_the_same_alone_as_padded_among_others(rows, padding):
    engine = make_engine()
    together = engine.run("k", feeds_of(rows, max(map(len, rows)) + padding))["logits"]
    alone = [engine.run("k", feeds_of([row]))["logits"][0] for row in rows]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_another_question_or_picture_gives_other_outputs():
    engine = make_engine()
    feeds = feeds_of([[1, 2], [2, 1]])
    feeds["patches"][1] = 9
    logits = engine.run("k", feeds)["logits"]
    assert logits.dtype == np.float32
    assert not np.array_equal(logits[0], logits[1])


def test_nan_token_spoils_its_own_row_and_poison_the_whole_batch():
    engine = make_engine()
    logits = engine.run("k", feeds_of([[1], [NAN_TOKEN], [2]]))["logits"]
    assert np.isnan(logits).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(engine.run("k", feeds_of([[1], [POISON_TOKEN]]))["logits"]).all()


def test_fail_token_raises_as_a_library_would():
    with pytest.raises(DummyFailure):
        make_engine().run("k", feeds_of([[1], [FAIL_TOKEN]]))


def test_stall_token_blocks_until_released():
    engine = make_engine()
    results = []
    thread = threading.Thread(target=lambda: results.append(engine.run("k", feeds_of([[STALL_TOKEN]]))))
    thread.start()
    assert engine.stalled.wait(5)
    assert results == []
    engine.release()
    thread.join(5)
    assert results[0]["logits"].shape == (1, 12)


def test_unloaded_and_closed_engines_refuse_to_run():
    engine = make_engine()
    assert engine.ready("k")
    engine.unload("k")
    assert not engine.ready("k")
    with pytest.raises(InternalError):
        engine.run("k", feeds_of([[1]]))
    closed = make_engine()
    closed.close()
    closed.close()
    with pytest.raises(InternalError):
        closed.run("k", feeds_of([[1]]))


def test_the_dummy_deployment_carries_a_proof_and_a_canary():
    deployment = build_dummy_deployment("x")
    inputs, outputs = build_dummy_canary(deployment)
    assert deployment.proof.holds()
    assert set(inputs) == {spec.name for spec in deployment.graphs[0].inputs}
    assert np.isfinite(outputs["logits"]).all()
