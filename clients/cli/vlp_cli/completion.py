"""`vlpserve completion`: by which a shell completes commands, options, and the server's names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from vlp_cli.main import cli

_SHELLS = ("bash", "fish", "zsh")
_VARIABLE = "_VLPSERVE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script for a SHELL, to be read where it starts.

    \b
    bash:  eval "$(vlpserve completion bash)"          in ~/.bashrc
    zsh:   eval "$(vlpserve completion zsh)"           in ~/.zshrc
    fish:  vlpserve completion fish | source           in ~/.config/fish/config.fish

    Names of models and collections come from the server, where it is up and answers within a second.
    """  # noqa: D301  # click looks for the character itself
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell}: this version of click knows nothing of it")
    click.echo(found(cli, {}, "vlpserve", _VARIABLE).source())
