"""Rows as aligned text, as wide as the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence

import click

_GAP = "  "
_CUT = "…"
_NARROWEST = 8
"""To which a column is cut at most, where the terminal is narrow."""


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """A table with a head; the last column is not padded.

    Args:
        width: of the lines, in columns of the terminal; the widest cells are cut to it. None: as wide as they are.
    """
    lines = [[one_line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(columns_of(line[column]) for line in lines) for column in range(len(head))]
    if width is not None:
        _narrow(widths, width - len(_GAP) * (len(widths) - 1))
    return "\n".join(
        _GAP.join(_fit(cell, own) for cell, own in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, cut to the terminal where there is one; what goes to a file or a pipe is whole."""
    width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
    click.echo(format_table(head, rows, width))


def one_line(text: str) -> str:
    """A text without line breaks and without what would steer a terminal: it may come from anybody."""
    return "".join(char if char.isprintable() else " " for char in text)


def columns_of(text: str) -> int:
    """How wide a terminal shows it: characters of East Asia take two columns, marks above others none."""
    return sum(_columns(char) for char in text)


def counted(count: int, thing: str) -> str:
    """A number with its thing: "1 item", "2 items"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _narrow(widths: list[int], room: int) -> None:
    """Cut the widest columns until all have room, or none is wide."""
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1


def _fit(cell: str, width: int) -> str:
    if columns_of(cell) > width:
        kept, used = "", 0
        for char in cell:
            used += _columns(char)
            if used > width - 1:
                break
            kept += char
        cell = kept + _CUT
    return cell + " " * (width - columns_of(cell))
