"""What a sweep leaves for people and systems to follow: metadata, task runs, events, artifacts, names."""

from __future__ import annotations

import orjson
import stored_runs
from merchant import Merchant

from flows.rules.references import parse_reference
from flows.rules.summary_tables import COLUMNS


async def test_a_copy_and_its_subscription_name_the_run_that_made_the_copy(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(metadata={"crm": {"id": 7}, "perennial": {"v": 1, "note": "keep"}})

    ended = await merchant.sweep()

    (copy,) = merchant.copies()
    run = await stored_runs.flow_run(ended.flow_run_id)
    reference = parse_reference(copy["reference"])
    assert reference is not None
    mine = orjson.loads(copy["metadata"])["perennial"]
    assert mine == {
        "subscription_id": made["id"],
        "period": copy["reference"].partition("@")[2],
        "attempt": 1,
        "flow_run_id": str(ended.flow_run_id),
        "flow_run_name": run.name,
        "deployment": None,
        "policy": merchant.name,
    }
    metadata = merchant.subscription(made["id"])["metadata"]
    assert metadata["crm"] == {"id": 7}
    assert metadata["perennial"]["note"] == "keep"
    assert metadata["perennial"]["order_copy_id"] == copy["id"]
    assert metadata["perennial"]["flow_run_id"] == str(ended.flow_run_id)


async def test_each_renewal_has_four_task_runs_that_a_search_for_its_reference_finds(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(failure="declined")

    ended = await merchant.sweep()

    (copy,) = merchant.copies()
    runs = {run.name: run for run in await stored_runs.task_runs(ended.flow_run_id, 9)}
    told = {name: str(run.state.message) for name, run in runs.items() if run.state}
    first_words = {
        "find due subscriptions": "1 subscription is due at ",
        f"create {copy['reference']}": f"order copy {copy['id']} ",
        f"poll {copy['reference']}": f"order copy {copy['id']} is completed",
        f"place {copy['reference']}": "PATCH /api/orders/",
        f"record {copy['reference']}": "retry scheduled: card declined; next attempt ",
        "clean up surplus copies": "0 surplus order copies found",
        "look for unpaid renewals": "0 unpaid renewals found",
        "publish summary": "1 renewal: 1 waits for a retry",
    }
    assert set(told) == set(first_words)
    assert {name: words for name, words in first_words.items() if not told[name].startswith(words)} == {}
    assert (await stored_runs.flow_run(ended.flow_run_id)).name.startswith("sweep 20")


async def test_each_renewal_emits_one_event_that_an_automation_can_match(merchant: Merchant) -> None:
    # A date that no other test uses: ids repeat in sandboxes, and the same event is not emitted twice.
    due = {"starts_at": "2026-01-02T03:04:00Z", "next_run_at": "2026-11-02T03:04:00Z"}
    good = merchant.sandbox.create_subscription(**due)
    bad = merchant.sandbox.create_subscription(**due, failure="hard_declined")

    run_id = (await merchant.sweep()).flow_run_id

    (renewed,) = await stored_runs.events(f"perennial.subscription.{good['id']}", 1, flow_run_id=run_id)
    (stopped,) = await stored_runs.events(f"perennial.subscription.{bad['id']}", 1, flow_run_id=run_id)
    assert renewed["event"] == "perennial.renewal.renewed"
    assert renewed["resource"]["perennial.organization"] == merchant.sandbox.organization
    assert {related["prefect.resource.role"] for related in renewed["related"]} >= {"order-copy", "target-order"}
    assert stopped["event"] == "perennial.renewal.needs_attention"
    assert stopped["resource"]["perennial.failure-class"] == "payment"
    assert stopped["payload"]["sentence"] == "card lost or stolen; not retried; held for a person: release it to go on"


async def test_the_table_has_the_worst_outcomes_first_and_the_progress_is_complete(merchant: Merchant) -> None:
    merchant.sandbox.seed(3)
    merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.create_subscription(failure="hard_declined")

    ended = await merchant.sweep()

    artifacts = await stored_runs.artifacts(ended.flow_run_id)
    rows = await stored_runs.table(ended.flow_run_id)
    assert [row["outcome"] for row in rows] == ["needs attention", "retry scheduled", *["renewed"] * 3]
    assert tuple(rows[0]) == COLUMNS
    assert (artifacts["renewals"].description or "").startswith(f"**{ended.message}**")
    assert artifacts["progress"].data == 100.0
    assert artifacts["progress"].description == "5 of 5 renewals"


async def test_a_final_action_and_a_skipped_renewal_have_events_of_their_own(merchant: Merchant) -> None:
    await merchant.install(payment_retries=[], final_action="skip_period")
    due = {"starts_at": "2026-01-03T03:05:00Z", "next_run_at": "2026-11-03T03:05:00Z"}
    given_up = merchant.sandbox.create_subscription(**due, failure="declined")
    with_a_rival = merchant.sandbox.create_subscription(**due)
    merchant.sandbox.create_subscription(
        status="active",
        source_order_id=with_a_rival["source_order_id"],
        next_run_at="2099-01-01T00:00:00Z",
        adopted=False,
    )

    run_id = (await merchant.sweep()).flow_run_id

    seen = await stored_runs.events(f"perennial.subscription.{given_up['id']}", 2, flow_run_id=run_id)
    assert {each["event"] for each in seen} == {"perennial.renewal.exhausted", "perennial.final_action.skip_period"}
    assert {each["payload"]["final_action"] for each in seen} == {"skip_period"}
    assert {each["resource"]["perennial.outcome"] for each in seen} == {"exhausted"}
    (left,) = await stored_runs.events(f"perennial.subscription.{with_a_rival['id']}", 1, flow_run_id=run_id)
    assert left["event"] == "perennial.renewal.skipped"
    assert left["payload"]["reason"] == "second_engine"
