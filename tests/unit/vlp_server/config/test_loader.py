from __future__ import annotations

from pathlib import Path

import pytest
from vlp_server.config import ServerConfig, load_config, resolve_config
from vlp_server.config.schema import settings_of
from vlp_server.config.settings import LogFormat
from vlp_spec.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "vlpserve.toml"
    path.write_text(text)
    return path


def faults_of(
    flags: dict[str, str] | None = None, environ: dict[str, str] | None = None, file: Path | None = None
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(flags, environ or {}, file)
    return caught.value.faults


def test_defaults_are_safe() -> None:
    config = load_config({}, {"HOME": "/home/a"})
    assert (config.http.host, config.http.port) == ("127.0.0.1", 8080)
    assert config.http.body_limit_bytes == 28 * 1024 * 1024
    assert config.http.cors_origins == ()
    assert config.url_fetch.enabled is False
    assert config.ready_file is None
    assert config.models.store == Path("/home/a/.local/share/vlpserve/repository")


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = write(tmp_path, "[http]\nport = 1\nkeep_alive_s = 3\nmax_in_flight = 7\n[batch]\nmax_items = 2\n")
    environ = {"VLPSERVE_HTTP_PORT": "2", "VLPSERVE_HTTP_KEEP_ALIVE_S": "4"}
    resolved = resolve_config({"http.port": "3"}, environ, file)
    config, origins = resolved.config, resolved.origins
    assert (config.http.port, origins["http.port"]) == (3, "flag")
    assert (config.http.keep_alive_s, origins["http.keep_alive_s"]) == (
        4.0,
        "environment VLPSERVE_HTTP_KEEP_ALIVE_S",
    )
    assert (config.http.max_in_flight, origins["http.max_in_flight"]) == (7, str(file))
    assert config.batch.max_items == 2
    assert origins["http.host"] == "default"


def test_values_of_every_type(tmp_path: Path) -> None:
    environ = {
        "VLPSERVE_LOG_FORMAT": "json",
        "VLPSERVE_LOG_ACCESS": "True",
        "VLPSERVE_HTTP_CORS_ORIGINS": "https://a.example, https://b.example:81",
        "VLPSERVE_URL_FETCH_PORTS": "80,8443",
        "VLPSERVE_READY_FILE": "/run/ready",
        "VLPSERVE_HTTP_BODY_TIMEOUT_S": "0.5",
        "VLPSERVE_ENGINE_PROVIDERS": "cuda,cpu",
        "XDG_DATA_HOME": "/data",
    }
    file = write(
        tmp_path, 'ready_file = "/x"\n[models]\nserve = ["a", "b@2"]\ndefault = "a"\n[url_fetch]\nenabled = true\n'
    )
    config = load_config({}, environ, file)
    assert config.log.format is LogFormat.JSON
    assert config.log.access is True
    assert config.http.cors_origins == ("https://a.example", "https://b.example:81")
    assert config.url_fetch.ports == (80, 8443)
    assert config.url_fetch.enabled is True
    assert config.ready_file == Path("/run/ready")
    assert config.engine.providers == ("cuda", "cpu")
    assert config.models.serve == ("a", "b@2")
    assert config.models.store == Path("/data/vlpserve/repository")


def test_the_variable_names_the_file_unless_a_flag_does(tmp_path: Path) -> None:
    file = write(tmp_path, "[http]\nport = 5\n")
    assert load_config({}, {"VLPSERVE_CONFIG": str(file)}).http.port == 5
    other = tmp_path / "other.toml"
    other.write_text("[http]\nport = 6\n")
    assert load_config({}, {"VLPSERVE_CONFIG": str(file)}, other).http.port == 6


def test_all_faults_are_told_at_once_with_their_sources(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        '[http]\nport = "80a"\nhsot = "x"\nbody_timeout_s = true\n[batch]\nmax_items = 0\n[nothing]\na = 1\n',
    )
    environ = {
        "VLPSERVE_LOG_ACCESS": "maybe",
        "VLPSERVE_HTTP_PROT": "1",
        "VLPSERVE_URL_FETCH_TIMEOUT_S": "nan",
        "VLPSERVE_READY_FILE": "",
    }
    faults = faults_of({"limits.questions": "0", "zzz": "1"}, environ, file)
    assert set(faults) == {
        f"{file}: http.port: got '80a', expected an integer",
        f"{file}: unknown key 'http.hsot'; did you mean http.host?",
        f"{file}: http.body_timeout_s: got True, expected a number",
        f"{file}: unknown key 'nothing'",
        f"{file}: batch.max_items: got 0, expected 1 or more",
        "environment VLPSERVE_LOG_ACCESS: log.access: got 'maybe', expected true or false",
        "environment: unknown variable VLPSERVE_HTTP_PROT; did you mean VLPSERVE_HTTP_PORT?",
        "environment VLPSERVE_URL_FETCH_TIMEOUT_S: url_fetch.timeout_s: got 'nan', expected a number",
        "environment VLPSERVE_READY_FILE: ready_file: got '', expected a path",
        "flag: limits.questions: got 0, expected 1 to 10000",
        "flag: unknown setting 'zzz'",
    }


@pytest.mark.parametrize(
    ("flags", "start"),
    [
        ({"admission.default_timeout_s": "600"}, "flag: admission.default_timeout_s: 600 is over http.max_request"),
        ({"limits.questions": "65"}, "flag: limits.questions: 65 is over admission.max_queries = 64"),
        ({"engine.engine": "quantum"}, "flag: engine.engine: got 'quantum', expected dummy or onnx"),
        ({"engine.engine": "dummy", "models.repository": "/r"}, "flag: models.repository: the dummy engine reads none"),
        ({"url_fetch.enabled": "true", "url_fetch.ports": ""}, "flag: url_fetch.ports: empty, though"),
        ({"models.serve": "a,b", "models.default": "c"}, "flag: models.default: 'c' is not among"),
        ({"models.serve": "a,a"}, "flag: models.serve: a is given twice"),
        ({"watchdog.stall_after_s": "1000"}, "flag: watchdog.stall_after_s: got 1000"),
        ({"http.cors_origins": "example.org"}, "flag: http.cors_origins: got 'example.org'"),
        ({"http.host": ""}, "flag: http.host: empty"),
    ],
)
def test_contradictions_and_ranges(flags: dict[str, str], start: str) -> None:
    (fault,) = faults_of(flags)
    assert fault.startswith(start)


@pytest.mark.parametrize(
    ("text", "start"), [("[http", "{file}: not TOML"), (None, "{file}: cannot be read (No such file or directory)")]
)
def test_a_file_that_cannot_be_read(text: str | None, start: str, tmp_path: Path) -> None:
    file = tmp_path / "vlpserve.toml" if text is None else write(tmp_path, text)
    (fault,) = faults_of(file=file)
    assert fault.startswith(start.format(file=file))


@pytest.mark.parametrize("text", ["80a", "0x10", "1_000", "8 0", "", "1.0", "9" * 30])
def test_integers_are_plain(text: str) -> None:
    assert faults_of({"http.port": text})


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("1", True), ("false", False), ("0", False)])
def test_bools_are_spelled_out(text: str, value: bool) -> None:
    assert load_config({"log.access": text}, {}).log.access is value


def test_every_setting_has_a_variable_of_its_own_and_a_text() -> None:
    settings = settings_of(ServerConfig)
    assert len({setting.variable for setting in settings}) == len(settings)
    assert [setting.name for setting in settings if not setting.text] == []
    assert {"VLPSERVE_HTTP_PORT", "VLPSERVE_READY_FILE"} <= {setting.variable for setting in settings}


def test_the_process_s_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLPSERVE_HTTP_PORT", "9")
    assert load_config().http.port == 9


def test_the_client_s_own_variable_is_no_setting() -> None:
    assert load_config({}, {"VLPSERVE_URL": "http://127.0.0.1:9000", "HOME": "/home/a"}).http.port == 8080
