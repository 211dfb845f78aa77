"""Rows as aligned text."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a head; the last column is not padded."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def counted(count: int, thing: str) -> str:
    """A number with its thing: "1 item", "2 items"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
