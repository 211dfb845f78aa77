from __future__ import annotations

from pathlib import Path

import pytest
from vlp_server.config import AccessConfig, load_config, resolve_config
from vlp_server.config.report import config_table
from vlp_spec.errors import ConfigError

A, B = "a" * 64, "b" * 64
HOME = {"HOME": "/home/a"}


def test_nobody_is_asked_for_a_key_unless_some_are_given() -> None:
    assert not load_config({}, HOME).access.asks_for_keys
    assert AccessConfig(keys=(f"laptop:read:{A}",)).asks_for_keys
    assert AccessConfig(keys_file=Path("keys.txt")).asks_for_keys


def test_keys_come_from_every_source_and_are_shown_by_none(tmp_path: Path) -> None:
    file = tmp_path / "vlpserve.toml"
    file.write_text(f'[access]\nkeys = ["laptop:read:{A}", "robot:write:{B}"]\nopen_metrics = false\n')
    pair = (f"laptop:read:{A}", f"robot:write:{B}")
    by_file = resolve_config({}, HOME, file)
    by_variable = resolve_config({}, {**HOME, "VLPSERVE_ACCESS_KEYS": ",".join(pair)})
    assert by_file.config.access.keys == by_variable.config.access.keys == pair
    assert not by_file.config.access.open_metrics
    for resolved in (by_file, by_variable):
        assert A not in config_table(resolved) + repr(resolved.config)


@pytest.mark.parametrize("value", [f'"laptop:read:{A}"', f'["laptop:read:{A}", 1]', "5", f'{{ laptop = "{A}" }}'])
def test_a_value_that_is_no_list_is_told_without_it(value: str, tmp_path: Path) -> None:
    file = tmp_path / "vlpserve.toml"
    file.write_text(f"[access]\nkeys = {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_config({}, HOME, file)
    assert caught.value.faults == (f"{file}: access.keys: expected a list, each text",)


def test_faults_of_keys_are_told_beside_others_with_their_source() -> None:
    flags = {"access.keys": f"one:read:{A},nonsense,one:write:{B}", "http.port": "70000"}
    with pytest.raises(ConfigError) as caught:
        load_config(flags, HOME)
    assert sorted(caught.value.faults) == [
        "flag: access.keys: entry 2: expected NAME:ROLE:SHA256, as `vlpserve keys new` writes it",
        "flag: access.keys: entry 3: the name 'one' is given already (keys: entry 1)",
        "flag: http.port: got 70000, expected 0 to 65535",
    ]


def test_the_client_s_key_is_no_setting_of_the_server_s() -> None:
    assert load_config({}, {**HOME, "VLPSERVE_API_KEY": "vlp_x"}) == load_config({}, HOME)
    assert load_config({}, {**HOME, "VLPSERVE_TRITON_CONTROL_SECRET": "x"}) == load_config({}, HOME)
