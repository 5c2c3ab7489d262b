"""
Mutation testing: mutmut puts small faults into the rules, one at a time, and the tests of the rules must notice them.

Prints for each module the share of faults that the tests noticed, and exits with 1 if a share is below 90 %.
`--digits 37` tries only the faults whose number ends in 3 or 7, a fifth of them: all of them take some hours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
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


def shares(made: Path = MADE) -> dict[str, Counter[str]]:
    """For each module, how many of the faults that were tried ended with which status."""
    found = {}
    for module in MODULES:
        codes = json.loads((made / f"{module}.py.meta").read_text())["exit_code_by_key"].values()
        found[module] = Counter(status_by_exit_code[code] for code in codes if code is not None)
    return found


def main() -> int:
    """Make the mutants, try them, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", default="", help="only faults whose number ends in one of these digits")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only-report", action="store_true", help="print what the last run found")
    chosen = parser.parse_args()
    if not chosen.only_report:
        names = [f"flows.rules.*__mutmut_*{digit}" for digit in chosen.digits]
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(chosen.processes), *names]
        subprocess.run(command, cwd=ROOT, check=True)
    too_low = False
    for module, ended in shares().items():
        tried, noticed = ended.total(), sum(ended[status] for status in NOTICED)
        too_low |= tried == 0 or noticed < TARGET * tried
        share = f"{noticed / tried:6.1%}" if tried else "    --"
        print(f"{module:16}{share}  {noticed} of {tried} noticed")
    return int(too_low)


if __name__ == "__main__":
    sys.exit(main())
