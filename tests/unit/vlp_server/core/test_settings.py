import pytest
from vlp_server.core.settings import (
    AdmissionSettings,
    BatchSettings,
    CacheSettings,
    CoreSettings,
    EngineSettings,
    ModelSettings,
    WatchdogSettings,
)
from vlp_spec.errors import ConfigError

DUMMY = ModelSettings(reference="dummy", engine=EngineSettings(engine="dummy"))


@pytest.mark.parametrize(
    ("build", "faults"),
    [
        (lambda: BatchSettings(max_items=0, max_text_area=0, bulk_every=1, max_padding_waste=2), 4),
        (lambda: AdmissionSettings(max_requests=0, bulk_share=-1, default_timeout_s=float("nan")), 3),
        (lambda: CacheSettings(answer_bytes=-1), 1),
        (lambda: CacheSettings(region_entries=-1, region_bytes=-1), 2),
        (lambda: WatchdogSettings(canary_interval_s=-1, stall_after_s=10, dead_after_s=5), 2),
        (lambda: ModelSettings(reference="vilt"), 1),
        (lambda: CoreSettings(models=()), 1),
        (lambda: CoreSettings(models=(DUMMY, DUMMY), preprocess_threads=0), 2),
    ],
)
def test_every_fault_is_listed(build, faults):
    with pytest.raises(ConfigError) as caught:
        build()
    assert len(caught.value.faults) == faults


def test_defaults_are_valid():
    settings = CoreSettings(models=(DUMMY,))
    assert settings.models[0].batch.area_budgets == {
        "text": 4096,
        **dict.fromkeys(("patches", "regions", "left_patches", "left_regions", "right_patches", "right_regions"), 8192),
    }
