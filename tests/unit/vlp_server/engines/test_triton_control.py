from pathlib import Path

import pytest
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton_control import CONTROL_SECRET_VARIABLE, control_metadata, read_secret, secret_of
from vlp_spec.errors import ConfigError

SECRET = "0123456789abcdef_-XYZ"


def test_a_file_goes_before_the_environment_and_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"  {SECRET}\n")
    environ = {CONTROL_SECRET_VARIABLE: "another_secret_of_theirs"}
    assert secret_of(file, environ) == read_secret(file) == SECRET
    assert secret_of(None, environ) == "another_secret_of_theirs"
    assert secret_of(None, {}) is None
    assert control_metadata(file) == {"triton-grpc-protocol-vlpserve-control": SECRET}
    file.write_text("a" * 16)
    assert control_metadata(file) == {"triton-grpc-protocol-vlpserve-control": "a" * 16}
    assert control_metadata(None) == {}


@pytest.mark.parametrize(
    "text", ["", "short", "a" * 257, "two words of a secret", "with,a,comma,in,it", "with=equals=signs=", "ä" * 20]
)
def test_what_tritonserver_would_misread_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(ConfigError, match="expected a secret of 16 to 256") as caught:
        read_secret(file)
    assert str(file) in caught.value.faults[0]
    assert not text or text not in caught.value.faults[0]
    with pytest.raises(ConfigError, match=CONTROL_SECRET_VARIABLE):
        secret_of(None, {CONTROL_SECRET_VARIABLE: text})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing: cannot be read"):
        read_secret(tmp_path / "missing")


def test_who_manages_models_needs_the_secret() -> None:
    with pytest.raises(ConfigError, match="triton_control_secret_file: not set"):
        EngineSettings(engine="triton", triton_urls=("h:1",), triton_manage=True)
    assert EngineSettings(
        engine="triton", triton_urls=("h:1",), triton_manage=True, triton_control_secret_file=Path("f")
    ).triton_manage
