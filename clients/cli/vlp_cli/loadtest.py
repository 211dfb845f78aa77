"""`vlpserve loadtest`: locust with the load test's users against a running server."""

from __future__ import annotations

import importlib.util
import os
import subprocess

import click

from vlp_cli.server_url import key_options, url_option

_RUN_TIME = "60s"
_RATE = "10"
_NO_LOOP = ("--rate", "--users", "-u")


@click.command(context_settings={"ignore_unknown_options": True})
@url_option()
@key_options
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[LOCUST'S OPTION]...")
def loadtest(url: str, api_key: str | None, options: tuple[str, ...]) -> None:
    """Load a running server with requests of every task that it serves, and say how long they took.

    Ten requests a second become due for 60 s, whatever the server does; a request's latency counts from when it was
    due. All other options are those of the load test and of locust; these matter most:

    \b
    --rate 20 --run-time 5m      how many a second, and how long
    --users 8                    without --rate: so many callers, each waits for its answer
    --tags vqa caption           these tasks alone
    --pictures 0                 every picture is new, so that no cache answers
    --report-html FILE           the report as a page; --report-json FILE as a document
    --max-p99-ms 500             bounds: code 1 where they are missed;
                                 also --max-error-share 0.01, --min-rate 19

    `python -m vlp_loadtest --help` lists all of them.
    """  # noqa: D301  # click looks for the character itself
    from vlp_loadtest.command import locust_command

    if importlib.util.find_spec("locust") is None:  # asked for here: it cannot be imported into this process
        raise ModuleNotFoundError("locust", name="locust")
    command = [*locust_command(), "--host", url, *_defaults(options), *options]
    # In the environment and not in the command line, which every user of the machine can read.
    environment = {**os.environ, **({} if api_key is None else {"LOCUST_API_KEY": api_key})}
    process = subprocess.Popen(command, env=environment)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()  # locust has been told by the terminal, too: it writes its report
    raise click.exceptions.Exit(code)


def _defaults(options: tuple[str, ...]) -> list[str]:
    """What is not said otherwise."""
    given = {option.partition("=")[0] for option in options}
    defaults = [] if given & {"--run-time", "-t"} else ["--run-time", _RUN_TIME]
    return defaults if given & set(_NO_LOOP) else [*defaults, "--rate", _RATE]
