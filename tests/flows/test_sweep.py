"""Every outcome of a sweep, seen from end to end: sandbox, Prefect server, subscription, copies, artifacts, states."""

from __future__ import annotations

import pytest
import stored_runs
from merchant import Ended, Merchant

A_DAY = 86_400 + 120


async def line_of(ended: Ended, subscription_id: str) -> dict[str, str]:
    """The row of one subscription in the table of a sweep."""
    (row,) = [row for row in await stored_runs.table(ended.flow_run_id) if row["renewal"].startswith(subscription_id)]
    return row


async def test_a_sweep_renews_every_due_subscription_and_sets_its_next_date(merchant: Merchant) -> None:
    seeded = merchant.sandbox.seed(30)

    ended = await merchant.sweep()

    assert ended.name == "Completed"
    assert ended.outcomes == {"renewed": 30}
    assert len({row["reference"] for row in merchant.copies()}) == len(merchant.copies()) == 30
    one = merchant.subscription(seeded["subscription_ids"][0])
    assert one["next_run_at"] > merchant.sandbox.clock().isoformat()
    assert one["metadata"]["perennial"]["outcome"] == "renewed"


async def test_a_second_sweep_finds_nothing_due_and_completes_with_an_empty_table(merchant: Merchant) -> None:
    merchant.sandbox.seed(3)
    await merchant.sweep()

    ended = await merchant.sweep()

    assert (ended.name, ended.message, ended.outcomes) == ("Completed", "0 renewals", {})
    assert len(merchant.copies()) == 3
    assert await stored_runs.table(ended.flow_run_id) == []


async def test_a_declined_card_waits_for_its_retry_which_places_the_same_order(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)

    first = await merchant.sweep()

    assert (first.name, first.outcomes) == ("Completed", {"retry_scheduled": 1})
    row = await line_of(first, made["id"])
    assert row["outcome"] == "retry scheduled"
    assert row["why"].startswith("card declined; next attempt ")
    assert row["why"].endswith("; 2 of 5")
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["outcome"], state["attempt"], state["error_class"]) == ("retry_scheduled", 1, "payment")
    assert "Your card was declined." in state["error"]

    waiting = await merchant.sweep()
    assert waiting.message == "0 renewals: 1 waits for the next attempt"

    merchant.sandbox.advance(A_DAY)
    second = await merchant.sweep()

    assert second.outcomes == {"renewed": 1}
    (copy,) = merchant.copies()
    after = merchant.subscription(made["id"])
    assert after["metadata"]["perennial"]["target_order_id"] == copy["target_order_id"]
    assert after["metadata"]["perennial"]["attempt"] == 2
    assert after["next_run_at"] > merchant.sandbox.clock().isoformat()


async def test_a_lost_card_fails_the_run_and_holds_the_subscription(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="hard_declined")

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert ended.message == "1 needs a person: 1 renewal: 1 needs attention; failures: 1 payment"
    assert (await line_of(ended, made["id"]))[
        "why"
    ] == "card lost or stolen; not retried; held for a person: release it to go on"
    assert merchant.subscription(made["id"])["metadata"]["perennial"]["held"] is True
    again = await merchant.sweep()
    assert (again.name, again.message) == ("Completed", "0 renewals: 1 held for a person")


async def test_a_held_subscription_is_settled_once_its_customer_has_paid_and_the_others_stay_held(
    merchant: Merchant,
) -> None:
    paid = merchant.sandbox.create_subscription(failure="hard_declined")
    unpaid = merchant.sandbox.create_subscription(failure="hard_declined")
    await merchant.sweep()
    order_id = merchant.subscription(paid["id"])["metadata"]["perennial"]["target_order_id"]
    merchant.sandbox.customer_pays(order_id)

    ended = await merchant.sweep()

    assert ended.message == "1 renewal: 1 renewed, 1 held for a person"
    assert "placed since the last attempt" in (await line_of(ended, paid["id"]))["why"]
    state = merchant.subscription(paid["id"])["metadata"]["perennial"]
    assert (state["held"], state["outcome"], state["target_order_id"]) == (False, "renewed", order_id)
    assert merchant.subscription(unpaid["id"])["metadata"]["perennial"]["held"] is True
    assert len(merchant.copies()) == 2


async def test_a_stuck_copy_is_in_progress_and_picked_up_when_it_is_done(merchant: Merchant) -> None:
    await merchant.install(copy_deadline_seconds=60)
    made = merchant.sandbox.create_subscription(failure="stuck")

    first = await merchant.sweep()
    assert first.outcomes == {"in_progress": 1}
    assert (await line_of(first, made["id"]))["why"].endswith("is still in_progress; the next sweep picks it up")

    (copy,) = merchant.copies()
    merchant.sandbox.release(copy["id"])
    merchant.sandbox.advance(60)
    second = await merchant.sweep()

    assert second.outcomes == {"renewed": 1}
    assert len(merchant.copies()) == 1


async def test_a_renewal_that_was_made_but_not_recorded_is_found_and_not_made_again(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)

    first = await merchant.sweep()
    assert first.outcomes == {"renewed": 1}
    assert "not recorded yet" in (await line_of(first, made["id"]))["why"]

    merchant.sandbox.clear_faults()
    second = await merchant.sweep()

    assert second.outcomes == {"already_renewed": 1}
    assert "renewed by an earlier run as order #" in (await line_of(second, made["id"]))["why"]
    assert len(merchant.copies()) == 1


@pytest.mark.parametrize(
    ("action", "name", "words", "status", "held"),
    [
        ("hold", "Failed", "held for a person: release it to go on", "inactive", True),
        ("skip_period", "Completed", "this period is skipped", "inactive", False),
        ("cancel", "Completed", "the subscription is cancelled", "cancelled", True),
    ],
)
async def test_when_retries_are_used_up_the_policys_final_action_is_taken(
    merchant: Merchant, action: str, name: str, words: str, status: str, *, held: bool
) -> None:
    await merchant.install(payment_retries=[], final_action=action)
    made = merchant.sandbox.create_subscription(failure="declined")

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == (name, {"exhausted": 1})
    assert (await line_of(ended, made["id"]))["why"].startswith(
        f"card declined; retries used up after 1 attempt; {words}"
    )
    after = merchant.subscription(made["id"])
    assert (after["status"], after["metadata"]["perennial"]["held"]) == (status, held)
    moved_on = after["next_run_at"] is not None and after["next_run_at"] > merchant.sandbox.clock().isoformat()
    assert moved_on is (action == "skip_period")


async def test_only_the_named_subscriptions_are_renewed_and_only_if_they_are_due(merchant: Merchant) -> None:
    first, other = merchant.sandbox.create_subscription(), merchant.sandbox.create_subscription()
    later = merchant.sandbox.create_subscription(next_run_at="2099-01-01T00:00:00Z")

    ended = await merchant.sweep(subscriptions=[first["id"], f" {later['id']} ", first["id"]])

    assert ended.message == "1 renewal: 1 renewed, 1 skipped"
    assert (await line_of(ended, later["id"]))["why"] == "due on Thu 1 Jan 00:00 UTC 2099"
    assert [copy["reference"][:10] for copy in merchant.copies()] == [first["id"]]
    assert merchant.subscription(other["id"])["metadata"]["perennial"].get("outcome") is None
    assert (await stored_runs.flow_run(ended.flow_run_id)).name == "renew 3 subscriptions"
