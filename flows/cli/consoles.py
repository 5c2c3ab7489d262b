"""Where the commands print: as wide as the terminal, and 120 columns where there is none."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH = 120
"""Columns of what is written into a file or a pipe: a table of eighty is folded beyond recognition."""


def console(*, highlight: bool = False) -> Console:
    """A console for standard output. What is printed is rich's markup: text from outside must be escaped first."""
    return Console(highlight=highlight, width=None if sys.stdout.isatty() else WIDTH)
