"""Two months of a small shop, in a minute; `python tests/year.py` is the long version."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from merchant import Merchant, open_merchant
from year import POLICY, START, ZONE, Year, print_figures, simulate
from year_checker import Report, check

from flows.cli.prefect_server import PrefectServer

TESTS = Path(__file__).parents[1]
PLACED = "SELECT c.id FROM order_copies c JOIN orders o ON o.id = c.target_order_id WHERE o.status = 'placed'"


def test_a_year_that_runs_alone_imports_prefect_only_after_it_has_set_the_settings() -> None:
    code = "import sys, year; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=TESTS, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_in_two_months_no_renewal_is_lost_or_doubled_and_no_card_is_tried_beyond_its_limits(
    server: PrefectServer, tmp_path: Path
) -> None:
    async with open_merchant("--clock", START.isoformat(), "--seed", "7", **POLICY) as merchant:
        year = await simulate(merchant, days=60, subscriptions=40, seed=7)
        print_figures(year)

        assert year.report.faults == []
        assert year.watcher.false_alarms == []
        assert year.report.renewed > 60
        assert year.report.recovery
        _the_checker_notices_what_is_wrong(merchant, year, tmp_path)


def _the_checker_notices_what_is_wrong(merchant: Merchant, year: Year, folder: Path) -> None:
    """The same year must not pass once one thing is falsified in a copy of the sandbox's database."""
    one = f"({PLACED} ORDER BY c.created_at LIMIT 1)"
    order = f"(SELECT target_order_id FROM order_copies WHERE id = {one})"
    assert _falsified(merchant, year, folder, f"DELETE FROM order_copies WHERE id = {one}").lost
    twice = (
        "INSERT INTO order_copies (id, status, reference, reference_origin, created_at, target_order_id) "
        f"SELECT 'Falsified1', status, reference, reference_origin, created_at, target_order_id FROM order_copies "
        f"WHERE id = {one}"
    )
    assert _falsified(merchant, year, folder, twice).doubled
    early = f"UPDATE order_copies SET created_at = '2025-12-31T00:00:00.000Z' WHERE id = {one}"
    assert _falsified(merchant, year, folder, early).wrong
    assert _falsified(merchant, year, folder, f"UPDATE orders SET status = 'pending' WHERE id = {order}").lost
    charges = (
        "INSERT INTO resource_errors (id, name, resource_id, created_at) "
        f"SELECT 'Falsified' || value, 'payment_source', {order}, '2026-02-01T00:00:00.000Z' "
        "FROM json_each('[1,2,3,4,5,6]')"
    )
    assert _falsified(merchant, year, folder, charges).over_the_cap
    old_card = next(entry.old_card for entry in year.diary.entries if entry.old_card is not None)
    again = f"INSERT INTO sandbox_charges VALUES ({order}, '{old_card}', '2099-01-01T00:00:00.000Z', 1)"
    assert _falsified(merchant, year, folder, again).wrong


def _falsified(merchant: Merchant, year: Year, folder: Path, statement: str) -> Report:
    copy = folder / "falsified.sqlite"
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(merchant.sandbox.database)) as true, closing(sqlite3.connect(copy)) as false:
        true.backup(false)
        assert false.execute(statement).rowcount > 0
        false.commit()
    return check(copy, year.diary, ZONE)
