from typing import Any

import pytest
from vlp_pipeline.region_settings import RegionSettings
from vlp_spec.errors import ArtifactError

RAW = {
    "type": "regions",
    "region_size": 2048,
    "max_regions": 36,
    "extractor": "detector",
    "extractor_digest": "ab" * 32,
}


def test_they_are_read_as_they_stand() -> None:
    assert RegionSettings.from_mapping(RAW) == RegionSettings(2048, 36, "detector", "ab" * 32)
    assert RegionSettings.from_mapping({"region_size": 4}) == RegionSettings(4, 100, "", "", "regions")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "unknown key colour"),
        ({"type": "vilt"}, "type 'vilt', expected 'regions'"),
        ({"region_size": 0}, "expected 1 or more"),
        ({"max_regions": 0}, "expected 1 or more"),
        ({"region_size": "2048"}, "region_size"),
        ({"extractor": ""}, "expected both or neither"),
        ({"extractor_digest": ""}, "expected both or neither"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtifactError, match=f"deployment.image.*{words}"):
        RegionSettings.from_mapping(RAW | change)


def test_the_size_must_be_there() -> None:
    with pytest.raises(ArtifactError, match="region_size"):
        RegionSettings.from_mapping({"type": "regions"})
