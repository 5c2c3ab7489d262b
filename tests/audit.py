"""
Asks the Python advisory database about every package in a lock file: `make audit`.

pip-audit does the asking. It ends well also where it could ask about nothing: a package that the service does not know
is only skipped. Here each package must have been answered about: what was not audited is no success.

Exit codes: 0 no known vulnerability; 1 some; 2 not everything could be audited.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WITHIN = 600.0
"""Seconds for all packages together."""


def packages_in(lock: Path) -> set[str]:
    """The names in a lock file."""
    return {_name(found) for found in re.findall(r"(?m)^([\w.-]+)==", lock.read_text())}


def verdict(asked: set[str], answer: str, complaint: str = "") -> tuple[int, list[str]]:
    """The exit code and what to say of pip-audit's JSON answer about these packages; `complaint` is its stderr."""
    try:
        answered: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = complaint.strip().splitlines()[-1:] or ["it gave no reason"]
        return 2, [f"nothing was audited, because pip-audit could not ask: {last[0]}"]
    lines = [
        f"{each['name']} {each['version']}: {flaw['id']}, cured in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in answered
        for flaw in each.get("vulns", ())
    ]
    done = {_name(each["name"]) for each in answered if "skip_reason" not in each}
    # A package for another system is not asked about, and neither is it installed.
    missing = {_name(each["name"]) for each in answered if "skip_reason" in each} & asked
    if missing or not done & asked:
        lines.append(f"NOT audited: {len(missing) or len(asked)} packages: {_some(missing or asked)}")
        return (1 if lines[:-1] else 2), lines
    return (1, lines) if lines else (0, [f"{len(done)} packages, no known vulnerability"])


def _name(written: str) -> str:
    return re.sub(r"[-_.]+", "-", written).lower()


def _some(names: set[str]) -> str:
    first = sorted(names)[:10]
    return ", ".join([*first, "..."] if len(names) > len(first) else first)


def audit(pip_audit: str, lock: Path) -> int:
    """Audit one lock file, and print what was found."""
    command = [
        pip_audit,
        "--disable-pip",
        "--require-hashes",
        "-r",
        str(lock),
        "-f",
        "json",
        "--progress-spinner",
        "off",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)
        code, lines = verdict(packages_in(lock), done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        code, lines = 2, [f"nothing was audited: no answer within {WITHIN:.0f} s"]
    for line in lines:
        print(f"{lock.name}: {line}", file=sys.stderr if code else sys.stdout)
    return code


def main(arguments: Sequence[str]) -> int:
    """The program pip-audit, and the lock files. Returns the worst exit code; a vulnerability is the worst."""
    codes = [audit(arguments[0], Path(lock)) for lock in arguments[1:]]
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
