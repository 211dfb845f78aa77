"""What all commands that print answers do alike."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import click

from vlp_cli.table import one_line


def print_json(document: Any) -> None:
    """One JSON document on a line of its own."""
    click.echo(json.dumps(document))


def print_results(model: str, results: Iterable[Any]) -> None:
    """The JSON of an answer to a list of texts, as the HTTP API has it."""
    print_json({"model": model, "results": [dataclasses.asdict(one) for one in results]})


def print_model(model: str, more: str = "") -> None:
    """Who answered, below a table."""
    click.echo(one_line(f"({model}{more})"))
