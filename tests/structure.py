"""
Measures how long functions and modules are, and finds import cycles. `make check` prints the figures, and fails if one
is out of bounds.

A function's length is that of its body without its docstring. Tests are not measured.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "blocks")

MEDIAN, P90, LONGEST, LONGEST_MODULE = 6, 15, 40, 300
"""Bounds, in lines."""


def modules() -> dict[str, str]:
    """The source of every module that ships, by its path below the root."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): file.read_text() for file in sorted(files)}


def functions(sources: dict[str, str]) -> dict[str, int]:
    """How many lines each function's body has."""
    return {f"{path}:{name}": lines for path, source in sources.items() for name, lines in _functions_in(source)}


def _functions_in(source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield f"{node.name} ({node.lineno})", (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def import_cycles() -> list[str]:
    """Modules that import each other, directly or through others."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False)
    found = []
    for module in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            chain = graph.find_shortest_chain(importer=imported, imported=module)
            if chain:
                found.append(" -> ".join([module, *chain]))
    return found


def main() -> int:
    """Print the measures. Returns 1 when one is out of bounds."""
    sources = modules()
    lengths, sizes = functions(sources), {path: len(source.splitlines()) for path, source in sources.items()}
    p90 = quantiles(lengths.values(), n=10)[-1]
    longest, largest = max(lengths, key=lengths.__getitem__), max(sizes, key=sizes.__getitem__)
    cycles = import_cycles()
    print(f"functions: {len(lengths)}, median {median(lengths.values()):.0f} lines (at most {MEDIAN}),"
          f" 90 % up to {p90:.0f} ({P90}), longest {lengths[longest]} ({LONGEST}): {longest}")  # fmt: skip
    print(f"modules:   {len(sizes)}, longest {sizes[largest]} lines (at most {LONGEST_MODULE}): {largest}")
    print(f"imports:   {len(cycles)} cycles" + "".join(f"\n  {cycle}" for cycle in cycles))
    too_long = [f"{name}: {lines}" for name, lines in lengths.items() if lines > LONGEST]
    too_large = [f"{path}: {lines}" for path, lines in sizes.items() if lines > LONGEST_MODULE]
    for each in too_long + too_large:
        print(f"too long: {each}")
    within = median(lengths.values()) <= MEDIAN and p90 <= P90
    return 0 if within and not (too_long or too_large or cycles) else 1


if __name__ == "__main__":
    sys.exit(main())
