"""The `vlpserve` command. Each sub-command's module is imported only when it is used, so that `vlpserve ask` needs no
server, `vlpserve serve` no torch, and `vlpserve --help` neither.

Exit codes: see `vlp_cli.exit_codes`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem
from vlp_spec.errors import StartupError, VlpError

from vlp_cli.exit_codes import BROKEN_PIPE, INTERRUPTED, REFUSED, USAGE


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A sub-command that is not imported yet.

    Attributes:
        target: "module:attribute" of the click command.
        help: one line for the list of commands.
        extra: the extra of the distribution that it needs beyond the serving core.
        hidden: for those who work on vlpserve; not in the list of commands.
    """

    target: str
    help: str
    extra: str | None = None
    hidden: bool = False


COMMANDS: Mapping[str, LazyCommand] = {
    "ask": LazyCommand("vlp_cli.ask:ask", "Ask a running server questions about a picture."),
    "caption": LazyCommand("vlp_cli.caption:caption", "Say what a picture shows."),
    "collections": LazyCommand("vlp_cli.collections:collections", "Look after collections of pictures.", "cpu"),
    "bench": LazyCommand("vlp_cli.bench:bench", "Measure how fast a running server answers."),
    "classify": LazyCommand("vlp_cli.classify:classify", "Choose among labels for a picture."),
    "compare": LazyCommand("vlp_cli.reason:reason", "The older name of reason.", hidden=True),
    "completion": LazyCommand("vlp_cli.completion:completion", "Print a script by which a shell completes words."),
    "config": LazyCommand("vlp_cli.config:config", "Look at the configuration."),
    "detector": LazyCommand("vlp_cli.detector:detector", "Train a region detector, and extract features.", "cpu,train"),
    "embed": LazyCommand("vlp_cli.embed:embed", "Make vectors of texts and pictures."),
    "entail": LazyCommand("vlp_cli.entail:entail", "Say whether a picture entails hypotheses."),
    "evaluate": LazyCommand("vlp_cli.evaluate:evaluate", "Measure a checkpoint or deployment on a data set.", "train"),
    "export": LazyCommand("vlp_cli.export:export", "Turn a checkpoint into a proved deployment.", "cpu,export"),
    "generate": LazyCommand("vlp_cli.generate:generate", "Write the documents made from the code.", hidden=True),
    "ground": LazyCommand("vlp_cli.ground:ground", "Find what phrases name in a picture."),
    "index": LazyCommand("vlp_cli.index:index", "Add a folder, shards or a list of pictures to a collection."),
    "judge": LazyCommand("vlp_cli.entail:entail", "The older name of entail.", hidden=True),
    "keys": LazyCommand("vlp_cli.keys:keys", "Make, list and revoke API keys."),
    "loadtest": LazyCommand("vlp_cli.loadtest:loadtest", "Load a running server with locust.", "loadtest"),
    "match": LazyCommand("vlp_cli.match:match", "Say how well texts fit a picture."),
    "models": LazyCommand("vlp_cli.models:models", "List models; load, switch and unload a server's."),
    "point": LazyCommand("vlp_cli.ground:ground", "The older name of ground.", hidden=True),
    "reason": LazyCommand("vlp_cli.reason:reason", "Say whether statements about two pictures are true."),
    "recall": LazyCommand("vlp_cli.recall:recall", "Measure an encoder's search on a data set.", "cpu,train"),
    "regions": LazyCommand("vlp_cli.regions:regions", "List the regions of a picture, and keep their features."),
    "scenes": LazyCommand("vlp_cli.scenes:scenes", "Write the built-in data set of scenes.", "train"),
    "search": LazyCommand("vlp_cli.search:search", "Find pictures of a collection."),
    "serve": LazyCommand("vlp_cli.serve:serve", "Serve models over HTTP."),
    "triton": LazyCommand("vlp_cli.triton:triton", "Run NVIDIA's Triton server over a repository."),
    "triton-repository": LazyCommand("vlp_cli.triton_repository:triton_repository", "Write what Triton serves."),
    "train": LazyCommand("vlp_cli.train:train", "Train a model by a recipe.", "train"),
}


class CommandFailure(click.ClickException):
    """The command line, the configuration or an artefact is at fault; told in words, without a stack."""

    exit_code = USAGE


class RequestFailure(CommandFailure):
    """A request to a server failed."""

    exit_code = REFUSED


class Interruption(click.ClickException):
    """Ctrl-C."""

    exit_code = INTERRUPTED


class LazyGroup(click.Group):
    """A group whose commands are the table's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = COMMANDS.get(cmd_name)
        return load_command(cmd_name, entry) if entry is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for --help, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in sorted(COMMANDS.items()) if not entry.hidden])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands' names, without importing anything."""
        names = [
            CompletionItem(name, help=entry.help)
            for name, entry in sorted(COMMANDS.items())
            if name.startswith(incomplete) and not entry.hidden
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; faults that were raised on purpose become one message and the exit code."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _missing_module(ctx.invoked_subcommand or "", error) from error
        except StartupError as error:
            raise CommandFailure(error.message) from error
        except VlpError as error:
            raise RequestFailure(error.message) from error
        except KeyboardInterrupt as error:
            raise Interruption("interrupted") from error
        except BrokenPipeError:
            # Nobody reads any more: what is left in the buffer must not be written when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)


def _missing_module(name: str, error: ModuleNotFoundError) -> CommandFailure:
    entry = COMMANDS.get(name)
    hint = ""
    if entry is not None and entry.extra:
        hint = f"; install vlpserve[{entry.extra}] (in a clone: make setup, which builds .venv with everything)"
    return CommandFailure(f"vlpserve {name}: the module {error.name!r} is not installed{hint}")


def load_command(name: str, entry: LazyCommand) -> click.Command:
    """Import a sub-command.

    Raises:
        CommandFailure: a package that it needs is not installed.
    """
    module_name, _, attribute = entry.target.partition(":")
    try:
        command = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise _missing_module(name, error) from error
    if not isinstance(command, click.Command):
        raise TypeError(entry.target)
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vlpserve", prog_name="vlpserve")
def cli() -> None:
    """Serve pretrained vision-and-language models, and make the models that are served."""


def main() -> None:
    """Entry point of the command."""
    cli(prog_name="vlpserve")
