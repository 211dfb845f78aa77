from __future__ import annotations

import httpx
import pytest
import vlp_client as sdk
from click.testing import CliRunner
from vlp_cli import main
from vlp_cli.client_failures import exit_code_of, failure_of, kind_of, told_faults
from vlp_cli.exit_codes import MEANINGS
from vlp_cli.main import cli, load_command

CLASSES = {429: sdk.CapacityError, 504: sdk.CapacityError, 401: sdk.AuthenticationError, 422: sdk.RequestError}


def refusal(kind: str, status: int, words: str = "no") -> sdk.ServerError:
    return CLASSES.get(status, sdk.ServerError)(words, kind=kind, status=status)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (refusal("invalid_image", 422), "invalid_image", 1),
        (refusal("unauthenticated", 401), "unauthenticated", 1),
        (refusal("internal", 500), "internal", 1),
        (refusal("a_kind_of_the_future", 418), "a_kind_of_the_future", 1),
        (sdk.ConnectError("refused"), "unreachable", 3),
        (sdk.TimeoutError("no answer in time"), "no_answer", 3),
        (sdk.ProtocolError("a page"), "protocol", 3),
        (refusal("overloaded", 429), "overloaded", 4),
        (refusal("unavailable", 503), "unavailable", 4),
        (refusal("deadline_exceeded", 504), "deadline_exceeded", 4),
        (refusal("unknown", 503), "unknown", 4),
    ],
)
def test_every_fault_has_its_kind_and_its_code(error: sdk.VlpClientError, kind: str, code: int) -> None:
    assert (kind_of(error), exit_code_of(error)) == (kind, code)
    failure = failure_of(error)
    assert failure.exit_code == code
    assert failure.message.startswith(f"{kind}: ")


def test_what_a_server_says_stays_on_one_line_and_steers_no_terminal() -> None:
    assert failure_of(refusal("internal", 500, "a\nb\x1b[2J")).message == "internal: a b [2J"


def test_a_reader_that_has_left_is_no_fault_of_the_call() -> None:
    with pytest.raises(BrokenPipeError), told_faults("a.jpg"):
        raise BrokenPipeError


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    command = load_command("completion", main.COMMANDS["completion"])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "callback", interrupted)
    done = CliRunner().invoke(cli, ["completion", "bash"])
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "Error: interrupted\n")


def test_all_codes_have_a_meaning() -> None:
    assert set(MEANINGS) == {0, 1, 2, 3, 4, 130, 141}


def test_the_codes_of_the_sdk_s_root_and_of_httpx_are_apart() -> None:
    # What is not the SDK's goes through: a fault of this program shows its stack.
    with pytest.raises(httpx.InvalidURL), told_faults("a.jpg"):
        raise httpx.InvalidURL("x")
    assert exit_code_of(sdk.VlpClientError("anything else")) == 1
