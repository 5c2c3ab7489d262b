"""Where the commands print: as wide as the terminal, and 120 columns where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

WIDTH = 120
"""Columns of what is written into a file or a pipe: a table of eighty is folded beyond recognition."""


def console(*, highlight: bool = False) -> Console:
    """A console for standard output. What is printed is rich's markup: text from outside must be escaped first."""
    return Console(highlight=highlight, width=None if sys.stdout.isatty() else WIDTH)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """On a terminal, show how many of `what` were read, on standard error. Call it with the number of each part."""
    read = 0
    with Console(stderr=True).status(f"reading {what}") as status:

        def more(count: int) -> None:
            nonlocal read
            read += count
            status.update(f"{read} {what} read")

        yield more
