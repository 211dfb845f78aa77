"""The fenced blocks of the documentation's pages, and what they say will be printed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("sh", "python")
_FENCE = re.compile(r"^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMISE = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
_DECIMAL = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
# Scores of one model differ a little between processors.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: path from the root of the repository.
        line: of its fence, from 1.
        language: what stands behind the fence; empty where nothing does.
        text: its lines.
        follows: the language of the block before it, where nothing but empty lines lies between them.
    """

    page: str
    line: int
    language: str
    text: str
    follows: str = ""

    @property
    def first(self) -> str:
        """Its first line, by which it is known."""
        return self.text.strip().partition("\n")[0].rstrip()

    @property
    def is_output(self) -> bool:
        """Whether it is what the block before it prints."""
        return self.language == "text" and self.follows in RUN

    @property
    def promises(self) -> list[str]:
        """What a block of Python says behind its calls of print."""
        return _PROMISE.findall(self.text)


def pages() -> list[str]:
    """Every page whose blocks are looked after."""
    found = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("clients/*/README.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def text_of(page: str) -> str:
    """The page as it is written."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    """Its blocks, from top to bottom."""
    text, blocks, end = text_of(page), list[Block](), 0
    for fence in _FENCE.finditer(text):
        follows = blocks[-1].language if blocks and not text[end : fence.start()].strip() else ""
        line = text.count("\n", 0, fence.start()) + 1
        blocks.append(Block(page, line, fence["language"], fence["text"], follows))
        end = fence.end()
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks), f"{page}: a fence is not closed"
    return blocks


def is_as_told(told: str, got: str) -> bool:
    """Whether something printed is what a page shows.

    Blanks of any length are alike, `...` stands for anything, and decimal fractions may differ by 0.02.
    """
    pattern, numbers = "", list[float]()
    for part in re.split(r"(\.\.\.|\s+|-?\d+\.\d+(?:e-?\d+)?)", told.strip()):
        if part == "...":
            pattern += ".*?"
        elif part and not part.strip():
            pattern += r"\s+"
        elif _DECIMAL.fullmatch(part):
            pattern += f"({_DECIMAL.pattern})"
            numbers.append(float(part))
        else:
            pattern += re.escape(part)
    found = re.fullmatch(pattern, got.strip(), re.DOTALL)
    if found is None:
        return False
    return all(abs(float(seen) - wanted) <= _TOLERANCE for seen, wanted in zip(found.groups(), numbers, strict=True))
