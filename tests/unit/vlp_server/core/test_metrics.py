from prometheus_client import generate_latest
from service_rig import Rig, picture, read_metric
from vlp_server.core.metrics import Metrics, ModelObserver
from vlp_server.core.records import Timings
from vlp_server.core.scheduler import Batch, DropReason
from vlp_spec.errors import ModelNotFoundError
from vlp_spec.tasks import VqaQuery


def test_two_services_do_not_share_figures():
    first, second = Metrics(), Metrics()
    first.count_request("m@1", "vqa", "ok")
    assert read_metric(first.registry, "vlpserve_requests_total", model="m@1", task="vqa", outcome="ok") == 1
    assert read_metric(second.registry, "vlpserve_requests_total", model="m@1", task="vqa", outcome="ok") == 0


def test_timings_are_kept_in_seconds_by_stage():
    metrics = Metrics()
    metrics.observe_timings("m@1", "vqa", Timings(queue_ms=20.0, infer_ms=300.0), total_s=0.5)
    sums = {
        stage: read_metric(metrics.registry, "vlpserve_stage_seconds_sum", model="m@1", task="vqa", stage=stage)
        for stage in ("queue", "infer", "total", "preprocess")
    }
    assert sums == {"queue": 0.02, "infer": 0.3, "total": 0.5, "preprocess": 0.0}


def test_an_observer_writes_what_its_batcher_does():
    metrics = Metrics()
    observer = ModelObserver(metrics, "m@1", "fusion")
    observer.queue_changed(3, 30)
    observer.batch_started(Batch((), real_area=60, padded_area=100))
    observer.batch_finished(4, 1)
    assert not observer.all_failed
    observer.batch_finished(2, 2)
    assert observer.all_failed
    observer.item_dropped(DropReason.DEADLINE)
    observer.worker_crashed()
    expected = {
        "vlpserve_queue_items": 3,
        "vlpserve_queue_cost": 30,
        "vlpserve_padding_waste_ratio_sum": 0.4,
        "vlpserve_failed_items_total": 3,
        "vlpserve_worker_crashes_total": 1,
    }
    assert {name: read_metric(metrics.registry, name, model="m@1") for name in expected} == expected
    assert read_metric(metrics.registry, "vlpserve_dropped_items_total", model="m@1", reason="deadline") == 1


async def test_no_label_holds_what_a_caller_sent():
    async with Rig() as rig:
        for model in ("secret-name", "dummy@secret-version"):
            try:
                await rig.service.vqa(picture(), [VqaQuery("secret-question")], model=model)
            except ModelNotFoundError:
                continue
        text = generate_latest(rig.service.metrics).decode()
        assert 'vlpserve_requests_total{model="unknown",outcome="model_not_found",task="vqa"} 2.0' in text
        assert "secret" not in text
