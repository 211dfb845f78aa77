from __future__ import annotations

from vlp_server.core.hosted_models import HostedModel
from vlp_server.core.records import ModelState, Timings
from vlp_server.oip.statistics import Statistics
from vlp_spec.tasks import Task

HOSTED = HostedModel("m.vqa", 2, "m@2", Task.VQA, 0, {}, ModelState.READY, "ready")


def test_nothing_was_asked_at_first() -> None:
    document = Statistics().document(HOSTED)
    assert (document["name"], document["version"]) == ("m.vqa", "2")
    assert (document["inference_count"], document["execution_count"], document["batch_stats"]) == (0, 0, [])
    assert all(duration == {"count": 0, "ns": 0} for duration in document["inference_stats"].values())


def test_rows_share_their_batches() -> None:
    statistics = Statistics(lambda: 12.5)
    for _ in range(2):  # two requests of two rows were computed in one batch of four
        statistics.succeeded(HOSTED, 0.25, Timings(queue_ms=1.0, preprocess_ms=2.0, infer_ms=8.0), (4, 4))
    statistics.succeeded(HOSTED, 0.25, Timings(infer_ms=1.0), (1,))
    statistics.failed(HOSTED, 0.5)
    document = statistics.document(HOSTED)
    assert (document["last_inference"], document["inference_count"], document["execution_count"]) == (12_500, 5, 2)
    stats = document["inference_stats"]
    assert stats["success"] == {"count": 3, "ns": 750_000_000}
    assert stats["fail"] == {"count": 1, "ns": 500_000_000}
    assert stats["queue"] == {"count": 3, "ns": 2_000_000}
    assert stats["compute_input"] == {"count": 3, "ns": 4_000_000}
    assert stats["compute_infer"] == {"count": 3, "ns": 17_000_000}
    assert [(one["batch_size"], one["compute_infer"]) for one in document["batch_stats"]] == [
        (1, {"count": 1, "ns": 1_000_000}),
        (4, {"count": 1, "ns": 8_000_000}),
    ]
