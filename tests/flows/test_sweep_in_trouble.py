"""The trouble of one renewal stops no other; trouble that many renewals share stops the sweep."""

from __future__ import annotations

import asyncio
import gc
from datetime import datetime
from typing import Any

import pytest
import stored_runs
from merchant import Merchant

from blocks.policy import Policy
from flows.rules.outcomes import result_of
from flows.rules.renewal import plan
from flows.run.garbage import THRESHOLDS
from flows.run.report import watched_by
from flows.sweep import pacing


async def test_an_unexpected_error_in_one_renewal_needs_a_person_and_does_not_stop_the_others(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = merchant.sandbox.seed(12)
    odd = seeded["subscription_ids"][0]

    def result_of_with_a_defect(renewal: Any, *rest: Any) -> Any:
        if renewal.subscription_id == odd:
            raise KeyError("odd")
        return result_of(renewal, *rest)

    with monkeypatch.context() as defect:
        defect.setattr("flows.tasks.record.result_of", result_of_with_a_defect)
        ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"renewed": 11, "needs_attention": 1})
    first, *_ = await stored_runs.table(ended.flow_run_id)
    assert first["renewal"].startswith(odd)
    assert first["why"].startswith("unexpected error (KeyError: 'odd'); the next sweep")
    again = await merchant.sweep()
    assert again.outcomes == {"already_renewed": 1}
    assert len(merchant.copies()) == 12


async def test_an_unexpected_error_while_one_renewal_is_planned_does_not_stop_the_others(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, _ = merchant.sandbox.create_subscription()["id"], merchant.sandbox.create_subscription()

    def plan_with_a_defect(subscription: Any, *rest: Any, **more: Any) -> Any:
        if subscription.id == odd:
            raise ZeroDivisionError
        return plan(subscription, *rest, **more)

    with monkeypatch.context() as defect:
        defect.setattr("flows.tasks.find_due.plan", plan_with_a_defect)
        ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"renewed": 1, "needs_attention": 1})


async def test_unexpected_errors_in_a_row_stop_the_sweep(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    await merchant.install(first_wave=5, second_wave=5, max_unconfirmed=3)
    merchant.sandbox.seed(20)

    def defect(*_: Any) -> Any:
        raise KeyError("everybody")

    monkeypatch.setattr("flows.tasks.record.result_of", defect)
    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert "Stopped: 3 renewals in a row ended in an unexpected error (KeyError: 'everybody')" in ended.message
    assert ended.message.endswith("15 stay due")
    assert len(merchant.copies()) == 5


async def test_a_bad_first_wave_stops_the_sweep_and_state_table_and_event_say_why(merchant: Merchant) -> None:
    await merchant.install(first_wave=5, second_wave=10)
    merchant.sandbox.seed(30, failures={"out_of_stock": 30})

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"retry_scheduled": 5})
    reason = "5 of 5 renewals failed for one reason (stock), more than 20%"
    assert ended.message.endswith(f"Stopped: {reason}; 25 stay due")
    artifact = (await stored_runs.artifacts(ended.flow_run_id))["renewals"]
    assert reason in (artifact.description or "")
    (stopped,) = await stored_runs.events("perennial.shop.", 1, "perennial.sweep.stopped", ended.flow_run_id)
    assert stopped["payload"]["sentence"] == reason
    assert len(merchant.copies()) == 5


async def test_each_wave_ends_before_the_next_one_begins(merchant: Merchant) -> None:
    await merchant.install(first_wave=2, second_wave=3)
    merchant.sandbox.seed(9)

    assert (await merchant.sweep()).outcomes == {"renewed": 9}

    copies = merchant.copies()
    for earlier, later in ((copies[:2], copies[2:5]), (copies[2:5], copies[5:])):
        assert max(copy["completed_at"] for copy in earlier) <= min(copy["created_at"] for copy in later)


async def test_a_sweep_that_cannot_read_order_copies_fails_and_renews_nothing(merchant: Merchant) -> None:
    merchant.sandbox.seed(100)
    merchant.sandbox.fault("status", method="GET", path="/api/order_copies", status=503)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert "Stopped: " in ended.message
    assert "/api/order_copies" in ended.message
    assert merchant.copies() == []


@pytest.mark.parametrize(("catch_up", "made"), [("all", 3), ("latest", 1), ("skip", 0)])
async def test_missed_periods_are_renewed_as_the_policy_says(merchant: Merchant, catch_up: str, made: int) -> None:
    await merchant.install(catch_up=catch_up, late_after="1d")
    started = "2026-01-05T06:00:00Z"
    merchant.sandbox.set_clock("2027-04-09T06:00:00Z")
    one = merchant.sandbox.create_subscription(
        starts_at=started, next_run_at="2027-02-05T06:00:00Z", frequency="monthly"
    )

    ended = await merchant.sweep()

    periods = sorted(copy["reference"].partition("@")[2] for copy in merchant.copies())
    assert periods == ["2027-02-05T06:00Z", "2027-03-05T06:00Z", "2027-04-05T06:00Z"][3 - made :]
    assert ended.outcomes == ({"renewed": made} if made else {"skipped": 1})
    assert merchant.subscription(one["id"])["next_run_at"].startswith("2027-05-05T06:00")
    assert (await merchant.sweep()).outcomes == {}


async def test_catching_up_stops_at_the_first_period_that_fails(merchant: Merchant) -> None:
    await merchant.install(catch_up="all")
    merchant.sandbox.set_clock("2027-04-09T06:00:00Z")
    one = merchant.sandbox.create_subscription(
        starts_at="2026-01-05T06:00:00Z", next_run_at="2027-02-05T06:00:00Z", frequency="monthly", failure="declined"
    )

    ended = await merchant.sweep()

    assert ended.outcomes == {"retry_scheduled": 1}
    assert [copy["reference"] for copy in merchant.copies()] == [f"{one['id']}@2027-02-05T06:00Z"]


async def test_copies_that_do_not_end_hold_up_no_others_although_few_renewals_may_be_under_way(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "RENEWALS_UNDER_WAY", 50)
    await merchant.install(first_wave=1000, second_wave=1000)
    merchant.sandbox.seed(75)
    for source in merchant.sandbox.seed(3)["source_order_ids"]:
        merchant.sandbox.set_failure(source, "stuck")

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 75, "in_progress": 3}
    created = [datetime.fromisoformat(copy["created_at"]) for copy in merchant.copies()]
    assert (created[-1] - created[0]).total_seconds() < Policy().copy_deadline_seconds


async def test_a_sweep_collects_garbage_less_often_and_then_as_before(merchant: Merchant) -> None:
    before, seen = gc.get_threshold(), set()
    merchant.sandbox.seed(2)

    with watched_by(lambda _: seen.add(gc.get_threshold())):
        await asyncio.gather(merchant.sweep(), merchant.sweep())

    assert seen == {THRESHOLDS}
    assert gc.get_threshold() == before
