"""What a preflight predicts about the coming sweeps, and how a later one compares that with what happened."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import stored_runs
from meanwhile import copy_order
from merchant import Merchant, _ended

from blocks.commerce_layer.rate_limit import RateLimits
from flows.__main__ import main
from flows.preflight import preflight_renewals

HOUR, DAY = 3600, 86_400


async def preflight(merchant: Merchant, **parameters: Any) -> Any:
    given = {"credentials": merchant.name, "policy": merchant.name, **parameters}
    return await _ended(await preflight_renewals(**given, return_state=True))


def due_in(merchant: Merchant, hours: float, **members: Any) -> dict[str, Any]:
    """A subscription that is due in some hours, for 10.00 EUR."""
    due = merchant.sandbox.clock() + timedelta(hours=hours)
    return merchant.sandbox.create_subscription(**{"next_run_at": due.isoformat(), "total_cents": 1000, **members})


async def expected(ended: Any) -> dict[str, tuple[str, str]]:
    rows = await stored_runs.table(ended.flow_run_id, "preflight")
    return {row["subscription"]: (row["expected"], row["why"]) for row in rows}


async def test_what_can_be_read_shows_who_will_fail_before_anything_is_due(merchant: Merchant) -> None:
    merchant.sandbox.set_clock("2026-03-30T06:00:00Z")
    fine = due_in(merchant, 2)["id"]
    expiring = due_in(merchant, 44, card_ends="2026-03")["id"]
    no_wallet = due_in(merchant, 3, wallet=False)["id"]
    no_source = due_in(merchant, 4, source_order_id="abcdefghij")["id"]
    held = due_in(merchant, 5, metadata={"perennial": {"v": 1, "held": True}})["id"]
    due_in(merchant, 6, metadata={"perennial": {"v": 1, "paused": True}})
    due_in(merchant, 7, adopted=False)
    due_in(merchant, 49)

    ended = await preflight(merchant, until="2026-04-01T06:30:00Z")

    assert await expected(ended) == {
        expiring: ("failed", "its card expires at the end of 2026-03, before it is charged"),
        no_wallet: ("failed", "no payment source in the customer's wallet"),
        no_source: ("not charged", "it has no source order, so there is nothing to copy"),
        held: ("not charged", "held for a person; set metadata.perennial.held to false to go on"),
        fine: ("renewed", ""),
    }
    assert ended.name == "Failed", "a person must give one of them a source order"
    assert ended.facts["counts"] == {"renewed": 1, "failed": 2, "not charged": 2}
    assert ended.facts["cents"]["renewed"] == {"EUR": 1000}
    assert merchant.copies() == []


def prepared(merchant: Merchant, made: dict[str, Any]) -> None:
    """The order copy of its period, made ahead."""
    reference = f"{made['id']}@{made['next_run_at'][:16]}Z"
    copy_order(merchant, made["source_order_id"], reference=reference, reference_origin="perennial", reuse_wallet=True)


async def test_prepared_copies_show_exact_amounts_and_failures_and_only_what_they_show_happens(
    merchant: Merchant,
) -> None:
    fine, sold_out, dearer = due_in(merchant, 2), due_in(merchant, 3, failure="out_of_stock"), due_in(merchant, 4)
    merchant.sandbox.change_price(dearer["source_order_id"], total_cents=1500)
    for each in (fine, sold_out, dearer):
        prepared(merchant, each)
    merchant.sandbox.advance(60)

    ended = await preflight(merchant)

    found = await expected(ended)
    assert {each: outcome for each, (outcome, _) in found.items()} == {
        fine["id"]: "renewed", sold_out["id"]: "failed", dearer["id"]: "not charged",
    }  # fmt: skip
    assert found[sold_out["id"]][1].startswith("out of stock")
    assert "costs 15.00 EUR instead of 10.00 EUR" in found[dearer["id"]][1]
    merchant.sandbox.advance(5 * HOUR)
    await merchant.sweep()
    assert [each.partition("@")[0] for each in merchant.placed()] == [fine["id"]]


async def test_each_date_before_the_end_is_predicted_and_the_caps_are_applied_day_by_day(merchant: Merchant) -> None:
    merchant.sandbox.set_clock("2026-03-01T12:00:00Z")
    await merchant.install(max_renewals_per_day=1)
    daily = due_in(merchant, 1, frequency="daily")["id"]
    once = due_in(merchant, 2)["id"]

    ended = await preflight(merchant, until="2026-03-04T00:00:00Z")

    assert ended.name == "Failed"
    assert ended.facts["caps"] == [
        f"2026-03-0{day}: 1 of {queue} renewals fit into max_renewals_per_day (1)"
        for day, queue in ((1, 2), (2, 2), (3, 2))
    ]
    rows = await stored_runs.table(ended.flow_run_id, "preflight")
    assert [(row["expected"], row["subscription"], row["date"]) for row in rows] == [
        ("not charged", daily, "2026-03-03 13:00"),
        ("renewed", daily, "2026-03-01 13:00"),
        ("renewed", once, "2026-03-01 14:00"),
        ("renewed", daily, "2026-03-02 13:00"),
    ]


async def test_the_first_run_after_the_span_compares_the_prediction_with_what_happened_once(
    merchant: Merchant,
) -> None:
    await merchant.install(limits=RateLimits(writes_per_minute=20))
    for _ in range(10):
        due_in(merchant, 2)
    declined = due_in(merchant, 2, failure="declined")["id"]
    due_in(merchant, 3, wallet=False)
    first = await preflight(merchant)
    assert first.facts["counts"] == {"renewed": 11, "failed": 1, "not charged": 0}
    assert first.facts["compared"] is None
    merchant.sandbox.advance(4 * HOUR)
    late = merchant.sandbox.create_subscription(total_cents=500)["id"]
    await merchant.sweep()
    merchant.sandbox.advance(2 * DAY)

    second = await preflight(merchant)

    compared = second.facts["compared"]
    assert (compared["renewed"], compared["cents"], compared["missed"]) == (11, {"EUR": 10_500}, 1)
    assert compared["sentence"].startswith("predicted 11 renewed and 1 not, 110.00 EUR in ")
    assert compared["sentence"].endswith("; 2 otherwise than predicted, -5.00 EUR")
    shortest, longest = first.facts["time"]["seconds"]
    assert shortest <= compared["seconds"] + 10 <= longest
    rows = await stored_runs.table(second.flow_run_id, "preflight-compared")
    assert [(row["renewal"].partition("@")[0], row["predicted"], row["happened"], row["why"]) for row in rows] == [
        (declined, "renewed 10.00 EUR", "not renewed", "card declined"),
        (late, "", "renewed 5.00 EUR", ""),
    ]
    assert (await preflight(merchant)).facts["compared"] is None, "it was compared already"


async def test_cards_that_may_not_be_read_are_named_and_hide_no_prediction(merchant: Merchant) -> None:
    due_in(merchant, 2, card_ends="2020-01")
    merchant.sandbox.fault("status", method="GET", path="/api/customer_payment_sources", status=403)

    ended = await preflight(merchant)

    assert ended.facts["counts"]["renewed"] == 1
    assert ended.facts["unread"][0].startswith("cards cannot be read (")
    assert ended.message.startswith(ended.facts["unread"][0])


async def test_one_subscription_that_cannot_be_read_hides_no_other(merchant: Merchant) -> None:
    fine, broken = due_in(merchant, 2)["id"], due_in(merchant, 2)["id"]
    merchant.sandbox.fault("status", method="GET", path="/api/order_subscriptions", match=broken, status=500)

    found = await expected(await preflight(merchant))

    assert found[fine] == ("renewed", "")


async def test_a_run_about_the_past_fails_and_says_why(merchant: Merchant) -> None:
    ended = await preflight(merchant, until="2020-01-01T00:00:00Z")

    assert ended.name == "Failed"
    assert "until is 2020-01-01 00:00 UTC, which is over" in ended.message


@pytest.fixture
def blocks(shop: Merchant) -> list[str]:
    return ["preflight", "--credentials", shop.name, "--policy", shop.name]


def test_the_command_exits_with_0_if_all_will_be_renewed_and_with_1_if_not(shop: Merchant, blocks, capsys) -> None:
    due_in(shop, 2)
    assert main(blocks) == 0
    assert "1 expected to succeed for 10.00 EUR" in capsys.readouterr().out
    failing = due_in(shop, 2, wallet=False)["id"]

    assert main(blocks) == 1

    said = capsys.readouterr().out
    assert failing in said
    assert "no payment source in the customer's wallet" in " ".join(said.split())


def test_a_date_that_may_surprise_is_told(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.set_clock("2026-02-27T06:00:00Z")
    due_in(shop, 24, starts_at="2025-12-31T06:00:00Z")

    assert main(blocks) == 0

    assert (
        "! 1 renewal: it counts from day 31: in months without that day it is due on the last day, next on 2026-02-28"
        in (" ".join(capsys.readouterr().out.split()))
    )


def test_the_json_of_the_command_has_every_renewal(shop: Merchant, blocks, capsys) -> None:
    made = due_in(shop, 2)["id"]

    assert main([*blocks, "--json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    assert [(each["subscription_id"], each["expected"], each["cents"]) for each in facts["renewals"]] == [
        (made, "renewed", 1000)
    ]
    assert facts["renewals"][0]["link"].endswith(f"/apps/subscriptions/list/{made}")


def test_an_end_in_the_past_and_an_unknown_block_are_named(shop: Merchant, blocks, capsys) -> None:
    assert main([*blocks, "--until", "2020-01-01"]) == 2
    assert "--until is 2020-01-01, which is over" in capsys.readouterr().err

    assert main(["preflight", "--credentials", "nobody", "--json"]) == 2

    printed = capsys.readouterr()
    assert "named 'nobody'" in json.loads(printed.out)["error"]
    assert "named 'nobody'" in printed.err


def test_a_shop_that_does_not_answer_and_one_that_refuses_have_exit_codes_of_their_own(
    shop: Merchant, blocks, capsys
) -> None:
    shop.sandbox.fault("status", method="GET", path="/api/order_subscriptions", status=500)
    assert main(blocks) == 4
    shop.sandbox.clear_faults()
    assert "nothing can be predicted: GET /api/order_subscriptions got no usable answer" in capsys.readouterr().err
    shop.sandbox.fault("status", status=401, body="json", path="/api/*")

    assert main(blocks) == 3

    assert "the shop refuses these credentials: " in capsys.readouterr().err
