"""Repairing renewals that Commerce Layer's own engine has failed, on a real Prefect server and a sandbox."""

from __future__ import annotations

import asyncio
import json

import pytest
from card_charges import attach_card, charges
from meanwhile import Meanwhile, patch
from merchant import Merchant
from prefect.variables import Variable
from rescues import (
    DAY,
    fail_now,
    failed_natively,
    fails_natively,
    handled,
    placed_by_source,
    repaired,
    rescue,
)

from blocks.commerce_layer.clock import use_clock
from flows.__main__ import main
from flows.rules.stop_switch import VARIABLE

PLACEMENTS = {"method": "PATCH", "path": "/api/orders/*", "match": "_place"}
RECORDS = {"method": "PATCH", "path": "/api/order_subscriptions/*"}


async def test_the_order_of_a_failed_run_is_placed_once_the_wait_of_the_policy_is_over(merchant: Merchant) -> None:
    made = failed_natively(merchant)
    before = merchant.subscription(made["id"])
    assert (before["status"], before["succeeded_on_last_run"]) == ("active", 0)

    early = await rescue(merchant)
    repaired(merchant, made)
    ended = await rescue(merchant)
    again = await rescue(merchant)

    assert [handled(each)[made["id"]] for each in (early, ended, again)] == ["waits", "renewed", "left_alone"]
    assert (ended.name, ended.message) == ("Completed", "1 renewed")
    (order,) = merchant.target_orders()
    assert (order["status"], order["metadata"]["perennial"]["rescue"]) == ("placed", True)
    after = merchant.subscription(made["id"])
    assert (after["status"], after["next_run_at"]) == ("active", before["next_run_at"])
    assert (set(after["metadata"]), after["metadata"]["crm"]) == ({"crm", "perennial_rescue"}, 7)
    assert placed_by_source(merchant) == {made["source_order_id"]: 1}


async def test_retries_follow_the_policy_until_they_are_used_up_and_no_native_order_is_cancelled(
    merchant: Merchant,
) -> None:
    await merchant.install(payment_retries=["1d", "1d"])
    made = failed_natively(merchant)
    ends = []
    for _ in range(3):
        merchant.sandbox.advance(DAY)
        ends.append(await rescue(merchant))
        assert handled(await rescue(merchant)) == handled(ends[-1])

    assert [handled(each)[made["id"]] for each in ends] == ["waits", "needs_person", "needs_person"]
    assert [each.name for each in ends] == ["Completed", "Failed", "Failed"]
    assert len(charges(merchant)) == 3
    (order,) = merchant.target_orders()
    assert order["status"] == "pending"
    merchant.sandbox.set_failure(made["source_order_id"], None)
    released = await rescue(merchant, made["id"], release=True)
    assert handled(released) == {made["id"]: "renewed"}


async def test_a_run_that_left_no_order_is_copied_again_once_and_a_sweep_leaves_the_waiting_order_alone(
    merchant: Merchant,
) -> None:
    made = failed_natively(merchant, "out_of_stock")
    repaired(merchant, made)
    merchant.sandbox.set_failure(made["source_order_id"], "declined")

    declined = await rescue(merchant)
    await merchant.sweep()

    assert handled(declined) == {made["id"]: "waits"}
    assert [order["status"] for order in merchant.target_orders()] == ["pending"]
    repaired(merchant, made)
    ended = await rescue(merchant)
    assert handled(ended) == {made["id"]: "renewed"}
    native, ours = merchant.copies()
    assert (native["target_order_id"], native["reference"], ours["reference_origin"]) == (None, None, "perennial")
    ran_at = merchant.subscription(made["id"])["last_run_at"]
    assert ours["reference"] == f"{made['id']}@{ran_at[:16]}Z"
    assert placed_by_source(merchant) == {made["source_order_id"]: 1}


async def test_what_customers_and_staff_do_between_the_plan_and_the_charge_is_respected(merchant: Merchant) -> None:
    made = [fails_natively(merchant) for _ in range(5)]
    fail_now(merchant)
    for each in made:
        repaired(merchant, each)
    ids = [each["id"] for each in made]
    orders = [
        merchant.rows("SELECT id FROM orders WHERE _source_order_id = ?", each["source_order_id"]) for each in made
    ]
    cancelled, deactivated, adopted, _, _ = ids
    paid_order, cancelled_order = orders[3][0]["id"], orders[4][0]["id"]

    def act() -> None:
        patch(merchant, "order_subscriptions", cancelled, _cancel=True)
        patch(merchant, "order_subscriptions", deactivated, _deactivate=True)
        patch(merchant, "order_subscriptions", adopted, metadata={"perennial": {}})
        merchant.sandbox.customer_pays(paid_order)
        patch(merchant, "orders", cancelled_order, _cancel=True)

    def is_announced() -> bool:
        return merchant.requests("PATCH /api/order_subscriptions/{id}") >= len(ids)

    planned = await rescue(merchant, dry_run=True)
    with use_clock(Meanwhile(merchant, is_announced, act)):
        ended = await rescue(merchant)

    assert handled(planned) == handled(ended, "planned") == dict.fromkeys(ids, "charge")
    ends = ["left_alone", "left_alone", "left_alone", "renewed", "waits"]
    assert handled(ended) == dict(zip(ids, ends, strict=True))
    assert [order["id"] for order in merchant.target_orders() if order["status"] == "placed"] == [paid_order]
    assert "perennial_rescue" not in merchant.subscription(adopted)["metadata"]


async def test_two_rescues_at_once_place_each_order_once(merchant: Merchant) -> None:
    made = [fails_natively(merchant, kind) for kind in ("declined", "out_of_stock", "gateway_timeout", "sku_gone")]
    fail_now(merchant)
    for each in made:
        merchant.sandbox.set_failure(each["source_order_id"], None)
    merchant.sandbox.advance(DAY)

    await asyncio.gather(rescue(merchant), rescue(merchant))
    merchant.sandbox.advance(DAY)
    last = await rescue(merchant)

    assert set(handled(last).values()) <= {"left_alone", "renewed"}
    assert placed_by_source(merchant) == {each["source_order_id"]: 1 for each in made}


@pytest.mark.parametrize(
    ("when", "lost"),
    [("before", PLACEMENTS), ("after", PLACEMENTS), ("after", RECORDS)],
    ids=["placement that did not arrive", "placement", "record"],
)
async def test_lost_answers_charge_no_one_twice(merchant: Merchant, when: str, lost: dict[str, str]) -> None:
    made = repaired(merchant, failed_natively(merchant))
    merchant.sandbox.fault("reset", when=when, times=2, **lost)

    await rescue(merchant)
    merchant.sandbox.clear_faults()
    merchant.sandbox.advance(2 * DAY)
    last = await rescue(merchant)

    assert handled(last)[made["id"]] in {"left_alone", "renewed"}
    assert placed_by_source(merchant) == {made["source_order_id"]: 1}
    assert [accepted for _, accepted in charges(merchant)].count(1) == 1


async def test_nothing_is_charged_that_cannot_be_recorded(merchant: Merchant) -> None:
    made = repaired(merchant, failed_natively(merchant))
    merchant.sandbox.fault("status", status=422, **RECORDS)

    ended = await rescue(merchant)

    assert (ended.name, handled(ended)) == ("Failed", {made["id"]: "failed"})
    assert placed_by_source(merchant) == {}


async def test_the_stop_switch_the_caps_and_the_price_hold_as_in_a_sweep(merchant: Merchant) -> None:
    made = [fails_natively(merchant) for _ in range(3)]
    fail_now(merchant)
    for each in made:
        merchant.sandbox.set_failure(each["source_order_id"], None)
    merchant.sandbox.advance(DAY)
    await Variable.aset(VARIABLE, "stop: wrong prices", overwrite=True)
    try:
        stopped = await rescue(merchant)
    finally:
        await Variable.aunset(VARIABLE)
    assert (stopped.name, set(handled(stopped).values())) == ("Failed", {"waits"})
    assert "wrong prices" in stopped.message

    dear = next(order for order in merchant.target_orders())
    merchant.sandbox.change_price(dear["id"], total_cents=999_900)
    await merchant.install(max_renewals_per_day=1, first_wave=3, second_wave=3)
    capped = await rescue(merchant)
    assert sorted(handled(capped).values()) == ["needs_person", "renewed", "waits"]
    assert "max_renewals_per_day" in capped.message
    await merchant.install()
    last = await rescue(merchant)
    assert sorted(handled(last).values()) == ["left_alone", "needs_person", "renewed"]
    held = next(row["subscription"] for row in last.facts["rows"] if row["handling"] == "needs_person")
    released = await rescue(merchant, held, release=True)
    assert handled(released) == {held: "renewed"}


async def test_the_card_that_the_customer_attached_since_is_charged_at_once(merchant: Merchant) -> None:
    made = failed_natively(merchant, "hard_declined")
    assert handled(await rescue(merchant)) == {made["id"]: "needs_person"}
    card = attach_card(merchant, made)

    ended = await rescue(merchant)

    assert handled(ended) == {made["id"]: "renewed"}
    assert charges(merchant)[-1] == (card, 1)


KINDS = {
    "no_wallet": 4, "declined": 4, "insufficient_funds": 4, "hard_declined": 4, "expired_card": 4,
    "authentication_required": 4, "gateway_timeout": 4, "out_of_stock_at_placing": 4, "out_of_stock": 4, "sku_gone": 4,
}  # fmt: skip


async def many_failures(merchant: Merchant, each: int) -> list[str]:
    """Native failures of ten kinds; the cause of every other one is gone. Returns their source orders."""
    kinds = dict.fromkeys(KINDS, each)
    due = merchant.sandbox.clock().replace(second=0, microsecond=0).isoformat()
    seeded = merchant.sandbox.seed(active=sum(kinds.values()), active_failures=kinds, due=due)
    merchant.sandbox.advance(600)
    sources = [str(source) for source in seeded["source_order_ids"]]
    for source in sources[::2]:
        merchant.sandbox.set_failure(source, None)
    merchant.sandbox.advance(DAY)
    return sources


async def dry_run_and_apply_agree(merchant: Merchant, sources: list[str]) -> dict[str, int]:
    """How many orders are placed from each source order after a dry run and an apply, which must agree."""
    before = (merchant.copies(), merchant.target_orders())
    planned = await rescue(merchant, dry_run=True)
    assert (merchant.copies(), merchant.target_orders()) == before
    ended = await rescue(merchant)
    assert handled(ended, "planned") == handled(planned)
    assert len(handled(planned)) == len(sources)
    tried = {name for name, what in handled(planned).items() if what in {"charge", "copy"}}
    for row in ended.facts["rows"]:
        if row["subscription"] not in tried:
            assert row["handling"] == row["planned"]
    renewed = {name for name, what in handled(ended).items() if what == "renewed"}
    assert renewed
    assert renewed <= tried
    placed = placed_by_source(merchant)
    assert len(placed) == len(renewed)
    assert set(placed.values()) == {1}
    return placed


async def test_the_apply_does_what_the_dry_run_said_about_failures_of_ten_kinds(merchant: Merchant) -> None:
    await dry_run_and_apply_agree(merchant, await many_failures(merchant, 4))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
async def test_the_apply_does_what_the_dry_run_said_about_a_thousand_failures(merchant: Merchant) -> None:
    sources = await many_failures(merchant, 100)
    await dry_run_and_apply_agree(merchant, sources)
    merchant.sandbox.advance(DAY)
    await asyncio.gather(rescue(merchant), rescue(merchant))
    assert set(placed_by_source(merchant).values()) == {1}


# --- the command ----------------------------------------------------------------------------------


def command(merchant: Merchant, *arguments: str) -> int:
    return main(["rescue", *arguments, "--credentials", merchant.name, "--policy", merchant.name])


def test_the_command_shows_first_and_repairs_with_apply(shop: Merchant, capsys: pytest.CaptureFixture[str]) -> None:
    made = failed_natively(shop, "insufficient_funds")
    hard = failed_natively(shop, "hard_declined")
    repaired(shop, made)

    assert command(shop) == 1
    shown = capsys.readouterr().out
    assert made["id"] in shown
    assert "add --apply to do it" in shown
    assert placed_by_source(shop) == {}

    assert command(shop, "--json") == 1
    facts = json.loads(capsys.readouterr().out)
    assert {row["subscription"]: row["handling"] for row in facts["rows"]} == {
        made["id"]: "charge",
        hard["id"]: "needs_person",
    }
    assert command(shop, made["id"], "--apply") == 0
    assert "renewed as order" in capsys.readouterr().out
    assert placed_by_source(shop) == {made["source_order_id"]: 1}


def test_the_command_names_what_is_wrong_and_the_way_out(shop: Merchant, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(shop, "--release") == 2
    assert "--release needs the ids" in capsys.readouterr().err
    assert command(shop, "NoSuchOne0") == 1
    assert "there is no such subscription" in capsys.readouterr().out
    assert command(shop) == 0
    assert "no renewal that Commerce Layer has failed" in capsys.readouterr().out
    assert main(["rescue", "--policy", "missing", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
