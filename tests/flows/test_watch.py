"""What the watch finds in a shop after sweeps, and how its flow run says so."""

from __future__ import annotations

import json

import stored_runs
from meanwhile import copy_order, patch
from merchant import Ended, Merchant

DAY = 86_400


def found(ended: Ended) -> list[tuple[str, str]]:
    return [(each["alarm"], each["subscription_id"]) for each in ended.facts["found"]]


async def test_the_watch_completes_in_a_shop_that_is_swept_although_renewals_failed(merchant: Merchant) -> None:
    merchant.sandbox.seed(4)
    merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.create_subscription(failure="hard_declined")
    await merchant.sweep()

    ended = await merchant.watch()

    assert (ended.name, found(ended)) == ("Completed", [])
    assert ended.message == "nothing is overdue or left unfinished; 6 subscriptions looked at"
    assert await stored_runs.table(ended.flow_run_id, "missed-renewals") == []


async def test_the_watch_publishes_all_open_failures_the_worst_first(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    waits = merchant.sandbox.create_subscription(failure="declined", total_cents=9_900)["id"]
    lost = merchant.sandbox.create_subscription(failure="hard_declined", total_cents=4_200)["id"]
    await merchant.sweep()

    ended = await merchant.watch()

    rows = await stored_runs.table(ended.flow_run_id, "open-failures")
    artifacts = await stored_runs.artifacts(ended.flow_run_id)
    assert [(row["subscription"], row["amount"]) for row in rows] == [(lost, "42.00 EUR"), (waits, "99.00 EUR")]
    assert rows[0]["what to do"].startswith("ask the customer for another card")
    assert (rows[1]["attempts"], rows[1]["what to do"][:22]) == ("1 of 5", "nothing: next attempt ")
    said = "**2 open failures: 1 waits for a person, 1 waits for its next attempt; 141.00 EUR at stake**"
    assert (artifacts["open-failures"].description or "").startswith(said)


async def test_after_a_dead_scheduler_the_watch_fails_with_a_table_and_an_event(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    await merchant.sweep()
    merchant.sandbox.advance(32 * DAY)

    ended = await merchant.watch()

    assert (ended.name, found(ended)) == ("Failed", [("overdue", made)])
    assert ended.message == "1 needs a person: 1 overdue; 1 subscription looked at"
    (row,) = await stored_runs.table(ended.flow_run_id, "missed-renewals")
    assert (row["alarm"], row["subscription"]) == ("overdue", made)
    assert row["in Commerce Layer"].endswith(f"/apps/subscriptions/list/{made}")
    (told,) = await stored_runs.events("perennial.shop.", 1, "perennial.watch.found", ended.flow_run_id)
    assert told["payload"]["sentence"] == ended.message


async def test_metadata_that_a_crm_has_overwritten_is_found_once_the_renewal_is_overdue(merchant: Merchant) -> None:
    made, paused = merchant.sandbox.create_subscription()["id"], merchant.sandbox.create_subscription(adopted=False)
    await merchant.sweep()
    patch(merchant, "order_subscriptions", made, metadata={"crm": 7})
    merchant.sandbox.advance(32 * DAY)

    ended = await merchant.watch()

    assert found(ended) == [("metadata lost", made)]
    assert paused["id"] not in json.dumps(ended.facts)
    assert f"`perennial adopt {made} --apply`" in ended.facts["found"][0]["sentence"]


async def test_two_placed_orders_of_one_period_are_found(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep()
    (first,) = merchant.copies()
    marks = {"reference": first["reference"], "reference_origin": "perennial"}
    copy_order(merchant, made["source_order_id"], place_target_order=True, **marks)
    merchant.sandbox.advance(60)

    ended = await merchant.watch()

    assert found(ended) == [("charged twice", made["id"])]
    assert "cancel all but one of them" in ended.facts["found"][0]["sentence"]


async def test_an_order_that_is_placed_days_after_another_one_of_its_period_is_found(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep()
    (first,) = merchant.copies()
    marks = {"reference": first["reference"], "reference_origin": "perennial"}
    second = copy_order(merchant, made["source_order_id"], **marks)
    merchant.sandbox.advance(5 * DAY)
    assert found(await merchant.watch()) == [("order left unplaced", made["id"])]
    (order_id,) = [each["target_order_id"] for each in merchant.copies() if each["id"] == second]
    patch(merchant, "orders", order_id, _place=True)

    ended = await merchant.watch()

    assert found(ended) == [("charged twice", made["id"])]


async def test_an_unplaced_order_is_found_unless_it_waits_for_a_retry(merchant: Merchant) -> None:
    waiting = merchant.sandbox.create_subscription(failure="declined")
    other = merchant.sandbox.create_subscription(next_run_at="2099-01-01T00:00:00Z")
    await merchant.sweep()
    marks = {"reference": f"{other['id']}@2026-01-01T00:00Z", "reference_origin": "perennial"}
    copy_order(merchant, other["source_order_id"], **marks)
    merchant.sandbox.advance(DAY / 2)
    assert found(await merchant.watch()) == []
    merchant.sandbox.advance(DAY)
    await_a_retry = {"overdue": "5d"}

    ended = await merchant.watch(**await_a_retry)

    assert found(ended) == [("order left unplaced", other["id"])]
    assert waiting["id"] not in json.dumps(ended.facts)
    assert ended.facts["found"][0]["link"].endswith(f"/apps/orders/list/{ended.facts['found'][0]['order_id']}")
