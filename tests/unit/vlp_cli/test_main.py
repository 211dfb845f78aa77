from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from vlp_cli import main
from vlp_cli.main import COMMANDS, LazyCommand, cli
from vlp_spec.errors import ConfigError, InvalidImageError, VlpError


def test_help_lists_every_command_that_is_not_hidden_and_imports_none() -> None:
    code = (
        "import sys; from vlp_cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, _, loaded = done.stdout.partition("LOADED")
    listed = {line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.startswith("  ")}
    assert {name for name, entry in COMMANDS.items() if not entry.hidden} <= listed
    assert {"torch", "vlp_server", "fastapi", "httpx"} & set(loaded.split()) == set()


@pytest.mark.parametrize(
    "name",
    ["ask", "bench", "caption", "classify", "completion", "config", "embed", "entail", "generate", "ground"]
    + ["loadtest", "match", "models", "reason", "regions", "serve"],
)
def test_commands_load(name: str) -> None:
    command = main.load_command(name, COMMANDS[name])
    assert command.name == name


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError(["a: wrong", "b: wrong"]), 2), (InvalidImageError("image: broken"), 1)]
)
def test_faults_become_words_and_exit_codes(error: VlpError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(main, "load_command", lambda name, entry: broken)
    done = CliRunner().invoke(cli, ["serve"])
    assert done.exit_code == code
    assert done.stderr == f"Error: {error.message}\n"


def test_a_module_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = LazyCommand("no_such_module_anywhere:command", "", "train")
    monkeypatch.setattr(main, "COMMANDS", {"train": entry})
    done = CliRunner().invoke(cli, ["train"])
    assert done.exit_code == 2
    assert "'no_such_module_anywhere' is not installed; install vlpserve[train] (in a clone" in done.stderr


def test_a_module_that_a_command_misses_while_it_runs_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        import no_such_module_anywhere  # type: ignore[import-not-found]  # noqa: F401

    monkeypatch.setattr(main, "load_command", lambda name, entry: broken)
    done = CliRunner().invoke(cli, ["export"])
    assert done.exit_code == 2
    assert "'no_such_module_anywhere' is not installed; install vlpserve[cpu,export] (in a clone" in done.stderr


def test_done_is_0_and_help_of_the_group_needs_no_command() -> None:
    for arguments in (["--help"], ["-h"], ["--version"], ["serve", "--help"]):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, (arguments, done.output)
        assert done.stdout
        assert done.stderr == ""


def test_an_unknown_option_of_a_command_is_a_usage_fault() -> None:
    done = CliRunner().invoke(cli, ["serve", "dummy", "--prot", "1"])
    assert done.exit_code == 2
    assert "--prot" in done.stderr


def test_only_the_command_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from vlp_cli.main import cli\n"
        "try: cli(['ask', '--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert "vlp_cli.ask" in loaded
    others = {entry.target.partition(":")[0] for name, entry in COMMANDS.items() if name != "ask"}
    assert (others | {"torch", "vlp_server", "vlp_models", "fastapi"}) & loaded == set()


@pytest.mark.parametrize(
    "name", ["bench", "caption", "classify", "embed", "entail", "reason", "ground", "match", "regions"]
)
def test_a_command_that_asks_a_server_needs_none_of_it(name: str) -> None:
    code = (
        f"import sys; from vlp_cli.main import cli\n"
        f"try: cli(['{name}', '--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert f"vlp_cli.{name}" in loaded
    assert {"torch", "vlp_server", "vlp_models", "fastapi", "numpy"} & loaded == set()


def test_an_unknown_command_is_a_usage_fault() -> None:
    done = CliRunner().invoke(cli, ["sevre"])
    assert done.exit_code == 2
    assert "No such command" in done.stderr


def test_tasks_are_named_to_export_as_everywhere_else() -> None:
    result = CliRunner().invoke(cli, ["export", "nowhere", "--repository", "unused", "--task", "seeing"])
    assert "is not one of 'vqa', 'caption', 'embeddings', 'classify', 'match'" in result.output
