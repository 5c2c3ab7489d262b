"""An audit that could not ask about a package is no success."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from audit import packages_in, verdict

ROOT = Path(__file__).resolve().parents[1]
ASKED = {"httpx", "pyyaml"}


def answer(*found: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(found), "fixes": []})


def audited(name: str, *flaws: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": list(flaws)}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "Dependency not found on PyPI and could not be audited"}


FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"], "description": "..."}


@pytest.mark.parametrize(
    ("said", "code", "line"),
    [
        (answer(audited("httpx"), audited("PyYAML")), 0, "2 packages, no known vulnerability"),
        (answer(audited("httpx", FLAW), audited("PyYAML")), 1, "httpx 1.0: PYSEC-2026-1, cured in 1.1"),
        (answer(audited("httpx"), skipped("PyYAML")), 2, "NOT audited: 1 packages: pyyaml"),
        (answer(skipped("httpx"), skipped("PyYAML")), 2, "NOT audited: 2 packages: httpx, pyyaml"),
        (answer(), 2, "NOT audited: 2 packages: httpx, pyyaml"),
        (answer(audited("httpx", FLAW), skipped("PyYAML")), 1, "httpx 1.0: PYSEC-2026-1, cured in 1.1"),
        ("", 2, "nothing was audited, because pip-audit could not ask: ConnectionError: no route"),
        ("null", 2, "nothing was audited, because pip-audit could not ask: ConnectionError: no route"),
    ],
)
def test_only_an_answer_about_every_package_is_a_success(said: str, code: int, line: str) -> None:
    found, lines = verdict(ASKED, said, "Traceback\nConnectionError: no route\n")

    assert (found, lines[0]) == (code, line)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-audit.lock"])
def test_the_names_are_read_from_the_lock_files(lock: str) -> None:
    assert {"rich", "requests", "typing-extensions"} <= packages_in(ROOT / lock)
