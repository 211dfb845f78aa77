import pytest
from vlp_server.engines import registry
from vlp_server.engines.dummy import DummyEngine
from vlp_server.engines.settings import EngineSettings
from vlp_spec.errors import ConfigError


def test_builds_the_engine_that_is_named():
    assert isinstance(registry.build_engine(EngineSettings(engine="dummy")), DummyEngine)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'warp' is none of dummy, onnx"):
        registry.build_engine(EngineSettings(engine="warp"))


def test_an_engine_whose_package_is_missing_is_a_configuration_fault(monkeypatch):
    monkeypatch.setitem(registry.ENGINES, "gone", ("vlp_server.engines.no_such_module", "X"))
    with pytest.raises(ConfigError, match="cannot be imported"):
        registry.build_engine(EngineSettings(engine="gone"))


def test_settings_list_all_faults_at_once():
    with pytest.raises(ConfigError) as caught:
        EngineSettings(threads=-1, workers=0, providers=("gpu",))
    assert len(caught.value.faults) == 3
