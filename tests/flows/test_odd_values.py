"""Resources with values that nobody expects: all others are renewed, and nobody is charged twice."""

from __future__ import annotations

from typing import Any

import pytest
import stored_runs
from meanwhile import charge_once_more, copy_order
from merchant import Ended, Merchant, open_merchant

from flows.cli.prefect_server import PrefectServer

DAY = 86_400
LAST = "2026-01-01T00:00Z"

ODD: dict[str, list[dict[str, Any]]] = {
    "order_subscriptions": [{"frequency": None}, {"metadata": []}, {"next_run_at": "9999-12-31T23:59:59.999Z"}],
    "order_copies": [{"status": 7}, {"created_at": None}, {"reference": {"a": 1}}],
    "orders": [{"status": None}, {"total_amount_with_taxes_cents": "soon"}, {"currency_code": "\u0000\u202e"}],
}
"""What the odd ones among the subscriptions, their copies or their target orders show."""


def found(ended: Ended) -> list[tuple[str, str]]:
    return [(each["alarm"], each["subscription_id"]) for each in ended.facts["found"]]


def ids(kind: str, merchant: Merchant, made: list[dict[str, Any]]) -> list[str]:
    """The resources of one type that belong to these subscriptions, in the same order."""
    if kind == "order_subscriptions":
        return [each["id"] for each in made]
    orders = {order["copy_reference"].partition("@")[0]: order for order in merchant.target_orders()}
    return [orders[each["id"]]["copy_id" if kind == "order_copies" else "id"] for each in made]


@pytest.mark.parametrize("kind", ODD)
async def test_the_others_are_renewed_and_the_odd_ones_are_renewed_or_reported(
    server: PrefectServer, kind: str
) -> None:
    async with open_merchant(brake_share=1, max_unconfirmed=100) as merchant:
        made = [merchant.sandbox.create_subscription() for _ in range(3 * len(ODD[kind]))]
        await merchant.sweep_that_dies_before_placing()
        merchant.sandbox.fault("odd", changes=dict(zip(ids(kind, merchant, made)[::3], ODD[kind], strict=True)))

        ended = await merchant.sweep()

        merchant.sandbox.clear_faults()
        placed = [reference.partition("@")[0] for reference in merchant.placed()]
        healthy = {each["id"] for place, each in enumerate(made) if place % 3}
        assert len(set(placed)) == len(placed)
        assert healthy <= set(placed), ended.message
        reported = {row["renewal"].partition("@")[0] for row in await stored_runs.table(ended.flow_run_id)}
        assert {each["id"] for each in made} <= reported | set(placed), ended.message

        await merchant.sweep()

        assert len(set(merchant.placed())) == len(merchant.placed()) >= len(healthy)


async def test_an_odd_order_copy_does_not_hide_a_double_charge_beside_it(merchant: Merchant) -> None:
    charged, odd = (merchant.sandbox.create_subscription() for _ in range(2))
    assert (await merchant.sweep()).outcomes == {"renewed": 2}
    copies = {copy["reference"].partition("@")[0]: copy for copy in merchant.copies()}
    merchant.sandbox.fault("odd", changes={copies[odd["id"]]["id"]: {"created_at": "soon"}})
    reference = copies[charged["id"]]["reference"]
    await charge_once_more(merchant, reference, charged["source_order_id"])

    ended = await merchant.sweep()

    assert f"one period is charged twice: {reference}" in ended.message


async def test_an_odd_subscription_among_all_that_are_adopted_is_refused_and_the_others_are_adopted(
    merchant: Merchant,
) -> None:
    later = "2030-01-01T00:00:00Z"
    made = [merchant.sandbox.create_subscription(status="active", adopted=False, next_run_at=later) for _ in range(4)]
    merchant.sandbox.fault("odd", changes={made[1]["id"]: {"frequency": None}})

    ended = await merchant.hand_over(all_active=True)

    handled = {row["subscription"]: (row["handling"], row["what"]) for row in ended.facts["rows"]}
    assert [handled[each["id"]][0] for each in made] == ["change", "refused", "change", "change"]
    assert "it cannot be read" in handled[made[1]["id"]][1]


async def test_the_watch_names_an_odd_order_copy_and_looks_at_the_others(merchant: Merchant) -> None:
    made = [merchant.sandbox.create_subscription(next_run_at="2099-01-01T00:00:00Z") for _ in range(4)]
    copies = [
        copy_order(merchant, each["source_order_id"], reference=f"{each['id']}@{LAST}", reference_origin="perennial")
        for each in made
    ]
    merchant.sandbox.advance(2 * DAY)
    merchant.sandbox.fault("odd", changes={copies[1]: {"created_at": "soon"}})

    alarms = found(await merchant.watch())

    left = [("order left unplaced", each["id"]) for each in made if each is not made[1]]
    assert sorted(alarms) == sorted([*left, ("unreadable", copies[1])])


async def test_the_watch_names_a_period_whose_older_copies_are_odd_and_looks_at_the_others(merchant: Merchant) -> None:
    doubled, odd = (merchant.sandbox.create_subscription() for _ in range(2))
    await merchant.sweep()
    references = {each["reference"].partition("@")[0]: each for each in merchant.copies()}
    merchant.sandbox.advance(5 * DAY)
    for each in (doubled, odd):
        marks = {"reference": references[each["id"]]["reference"], "reference_origin": "perennial"}
        copy_order(merchant, each["source_order_id"], place_target_order=True, **marks)
    merchant.sandbox.advance(60)
    merchant.sandbox.fault("odd", changes={references[odd["id"]]["id"]: {"created_at": "soon"}})

    alarms = found(await merchant.watch())

    assert alarms == [("charged twice", doubled["id"]), ("unreadable", references[odd["id"]]["reference"])]
