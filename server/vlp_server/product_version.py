"""Which version of vlpserve this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def product_version() -> str:
    """Of the installed package; "0" where it runs from a tree that was never installed."""
    try:
        return version("vlpserve")
    except PackageNotFoundError:
        return "0"
