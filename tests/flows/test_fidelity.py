"""The money path under other answers to what nobody outside knows; `make fidelity` is the long version."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fidelity import DEFAULTS, SETTINGS, faults, pairwise, renewed_under
from fidelity_checker import Verdict
from fidelity_shop import FidelityShop

from flows.cli.prefect_server import PrefectServer

OTHER = {**{name: values[-1] for name, values in SETTINGS.items()}, "copy-pays": "newest"}
"""The other answer to every question at once."""

PLACED = "SELECT c.id FROM order_copies c JOIN orders o ON o.id = c.target_order_id WHERE o.status = 'placed'"
ONE = f"({PLACED} AND c.reference LIKE :subscription || '@%' ORDER BY c.created_at LIMIT 1)"
ORDER = f"(SELECT target_order_id FROM order_copies WHERE id = {ONE})"
FALSIFIED = {
    "lost": f"DELETE FROM order_copies WHERE id = {ONE}",
    "charged_twice": (
        "INSERT INTO order_copies (id, status, reference, reference_origin, source_order_id, created_at, updated_at,"
        " target_order_id) SELECT 'Falsified1', status, reference, reference_origin, source_order_id, created_at,"
        f" updated_at, target_order_id FROM order_copies WHERE id = {ONE}"
    ),
    "wrong_card": f"INSERT INTO sandbox_charges VALUES ({ORDER}, 'Falsified1', '2099-01-01T00:00:00.000Z', 0)",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_each_period_is_charged_once_and_to_the_right_card_under_the_other_answer_to_every_question(
    server: PrefectServer, tmp_path: Path
) -> None:
    async with renewed_under(OTHER, weeks=1) as shop:
        verdict = shop.judge()
        assert faults(OTHER, verdict) == []
        assert verdict.renewals == len(shop.adopted) - 1 + 5  # one is due later; five native runs were or are repaired
        for kind, statement in FALSIFIED.items():
            assert getattr(_falsified(shop, tmp_path, statement), kind), f"the checker does not notice: {kind}"


def _falsified(shop: FidelityShop, folder: Path, statement: str) -> Verdict:
    copy = folder / "falsified.sqlite"
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(shop.database)) as true, closing(sqlite3.connect(copy)) as false:
        true.backup(false)
        with_a_card = shop.adopted["new card"]["id"]  # which has been its only one since before the first attempt
        assert false.execute(statement, {"subscription": with_a_card}).rowcount > 0
        false.commit()
    return shop.judge(copy)


def test_in_the_shops_of_make_fidelity_every_two_values_of_two_settings_meet() -> None:
    shops = list(pairwise())
    for first, other in itertools.combinations(SETTINGS, 2):
        met = {(chosen[first], chosen[other]) for chosen in shops}
        assert met == set(itertools.product(SETTINGS[first], SETTINGS[other]))
    assert DEFAULTS in shops
