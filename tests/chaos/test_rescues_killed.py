"""A worker is killed at each write of a rescue. Whatever it leaves, each failed renewal ends with one placed order."""

from __future__ import annotations

import pytest
from chaos.worker_launcher import WorkerLauncher
from merchant import Merchant
from rescues import DAY, fail_now, fails_natively, handled, placed_by_source, rescue

IN_MAKE_TEST = [
    ("after it wrote on the subscription", 1),
    ("with the answer to a creation", 1),
    ("with the answer to a placement", 1),
]
IN_MAKE_CHAOS = [
    ("before it writes on the subscription", 1),
    ("with a creation ready to send", 1),
    ("with a placement ready to send", 2),
    ("with the answer to a placement", 2),
    ("before it writes on the subscription", 4),
    ("after it wrote on the subscription", 4),
]


@pytest.mark.parametrize(
    ("point", "nth"), [*IN_MAKE_TEST, *(pytest.param(*each, marks=pytest.mark.chaos) for each in IN_MAKE_CHAOS)]
)
async def test_a_rescue_that_was_killed_is_finished_by_the_next_ones(
    merchant: Merchant, launcher: WorkerLauncher, point: str, nth: int
) -> None:
    made = [fails_natively(merchant, kind) for kind in ("declined", "out_of_stock", "sku_gone")]
    fail_now(merchant)
    for each in made:
        merchant.sandbox.set_failure(each["source_order_id"], None)
    merchant.sandbox.advance(DAY)

    worker = launcher.start(merchant, flow="rescue", kill_at=point, nth=nth, parameters={"dry_run": False})
    assert await worker.wait() is None, "the worker should have been killed"
    for _ in range(3):
        last = await rescue(merchant)
        merchant.sandbox.advance(2 * DAY)

    assert set(handled(last).values()) <= {"left_alone", "needs_person"}
    placed = placed_by_source(merchant)
    assert set(placed.values()) == {1}
    unpaid = [row for row in last.facts["rows"] if row["handling"] == "needs_person"]
    assert len(placed) + len(unpaid) == len(made)
