"""docs/cli.md: how the command behaves, and the help of every sub-command, which is made from the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from vlp_cli.exit_codes import MEANINGS
from vlp_cli.main import COMMANDS, cli, load_command

_WIDTH = 100
_ASKING = (
    "ask",
    "caption",
    "entail",
    "match",
    "classify",
    "reason",
    "ground",
    "regions",
    "embed",
    "search",
    "index",
    "models",
    "collections",
    "bench",
    "loadtest",
)

_HEAD = """# The command

Made by `vlpserve generate`; do not edit.

`vlpserve ask`, `caption` and so on ask a running server; `serve`, `export`, `train` and the others need none. With the
shipped models on http://127.0.0.1:8080 (`vlpserve serve`):

```sh
S=models/zoo/vlp_zoo/samples
vlpserve models --url http://127.0.0.1:8080
vlpserve ask $S/scene-1.jpg "what color is the boat?" "how many boats are there?"
vlpserve caption $S/scene-5.jpg --stream
vlpserve entail $S/gallery-1.jpg "there is a red camera at the middle left" --json
vlpserve match $S/scene-2.jpg "two yellow planes" "a green cup"
vlpserve classify $S/scene-2.jpg "two yellow planes" "a green cup"
vlpserve reason $S/gallery-2.jpg $S/gallery-3.jpg "there are more ducks in the right picture than in the left"
vlpserve ground $S/gallery-1.jpg "the large yellow drum"
vlpserve embed "a red boat" --image $S/scene-1.jpg
vlpserve index scenes $S
vlpserve search scenes "two yellow planes" -k 3
vlpserve bench --duration 2 --rate 5        # arrivals are drawn by chance: so many on average
```

## What they have in common

- A picture is a file, an http(s) URL, or `-` for standard input, once a command. A URL is fetched by the server, which
  refuses until its operator allows it, or here with `--fetch`. Commands that a model of regions can answer take an
  `.npz` of regions, too (`vlpserve regions --npz`).
- `--url` or `VLPSERVE_URL` says which server; `--api-key-file`, `--api-key` or `VLPSERVE_API_KEY` with which key;
  `--timeout` how long to wait; `--model` which model.
- Tables are for people: aligned, and cut to the width of the terminal, but whole in a file or a pipe. `--json` prints
  one JSON document with the fields of the HTTP API.
- An error is one line on standard error, with its stable kind: `Error: model_not_found: ...`.
- `vlpserve completion bash` (`zsh`, `fish`) prints what a shell needs to complete commands, options, and the names of
  the server's models and collections.
- `judge`, `compare` and `point` are the older names of `entail`, `reason` and `ground`, and still understood.

| exit code | meaning |
|---|---|
"""


def cli_page() -> str:
    """The page; importing every command, it needs all extras."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in MEANINGS.items())
    others = [name for name, entry in COMMANDS.items() if not entry.hidden and name not in _ASKING]
    # The group's own settings, as when it is called.
    settings: dict[str, Any] = {**cli.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    root = click.Context(cli, info_name="vlpserve", **settings)
    parts = [_HEAD + codes]
    for title, names in (("Commands that ask a server", _ASKING), ("The other commands", sorted(others))):
        parts.append(f"\n## {title}\n")
        for name in names:
            parts += _helps(load_command(name, COMMANDS[name]), name, root)
    return "".join(parts)


def _helps(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    # Whoever asked this command before, maybe without the group, named its help option once and for all.
    command._help_option = None
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"\n### {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for own in command.list_commands(context):
            inner = command.get_command(context, own)
            if inner is not None and not inner.hidden:
                yield from _helps(inner, own, context)
