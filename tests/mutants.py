"""
Mutation testing: mutmut puts small faults into the rules, one at a time, and the tests of the rules must notice them.

Prints for each module the share of faults that the tests noticed, and exits with 1 if a share is below 90 %. It begins
anew each time, because mutmut would keep what it found before a test was changed. `[tool.mutmut]` in pyproject.toml
says which tests take part; the hypothesis profile for them is in `tests/rules/conftest.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "mutants" / "flows" / "rules"
MODULES = (
    "periods", "anchors", "renewal", "skips", "spacing", "still_wanted", "next_action", "cards", "caps", "outcomes",
    "result_builder", "retries", "records",
)  # fmt: skip
NOTICED = ("killed", "timeout", "segfault", "caught by type check")
TARGET = 0.9


def shares(modules: Iterable[str], made: Path = MADE) -> dict[str, Counter[str]]:
    """For each module, how many of the faults that were tried ended with which status."""
    found = {}
    for module in modules:
        codes = json.loads((made / f"{module}.py.meta").read_text())["exit_code_by_key"].values()
        found[module] = Counter(status_by_exit_code[code] for code in codes if code is not None)
    return found


def try_all(modules: Iterable[str], processes: int) -> None:
    """Put the faults into these modules, and run the tests once for each."""
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    names = [f"flows.rules.{module}.*" for module in modules]
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Make the mutants, try them, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these modules of the rules, such as `periods`")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only-report", action="store_true", help="print what the last run found")
    chosen = parser.parse_args()
    modules = chosen.modules or MODULES
    if unknown := set(modules) - set(MODULES):
        parser.error(f"no faults are made in {', '.join(sorted(unknown))}; choose from {', '.join(MODULES)}")
    if not chosen.only_report:
        try_all(modules, chosen.processes)
    too_low = False
    for module, ended in shares(modules).items():
        tried, noticed = ended.total(), sum(ended[status] for status in NOTICED)
        too_low |= tried == 0 or noticed < TARGET * tried
        share = f"{noticed / tried:6.1%}" if tried else "    --"
        print(f"{module:16}{share}  {noticed} of {tried} noticed, {ended['timeout']} of them by running too long")
    return int(too_low)


if __name__ == "__main__":
    sys.exit(main())
