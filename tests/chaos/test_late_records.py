"""
Late records: the shop carries out the PATCH of a subscription only after another run has finished the renewal.

Then only the date and the order copies can be trusted. Whatever the state says, each of the next periods is renewed
once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from chaos.checker import Auditor
from merchant import Merchant

RECORD = {"method": "PATCH", "path": "/api/order_subscriptions/*", "match": "perennial"}
LATE_BY = 5400
"""Seconds by which the record is late: longer than the other run takes, and shorter than an access token is valid."""

ALL_TRIES = [1, 2, 3, 4]
PERIOD = {"monthly": 31 * 86_400, "hourly": 3600}


@dataclass(frozen=True)
class Case:
    """How the first run leaves a period, and what then happens so that the second run finds it renewed."""

    failure: str | None
    outcome: str
    resolve: Callable[[Merchant], None]
    copies_late_by: int = 0


def _the_copy_ends(merchant: Merchant) -> None:
    merchant.sandbox.release(merchant.copies()[-1]["id"])
    merchant.sandbox.advance(60)


def _the_customer_pays(merchant: Merchant) -> None:
    merchant.sandbox.customer_pays(merchant.copies()[-1]["target_order_id"])


def _the_copy_appears(merchant: Merchant) -> None:
    merchant.sandbox.advance(400)


CASES = {
    "in progress": Case("stuck_pending", "in_progress", _the_copy_ends),
    "waiting for a retry": Case("declined", "retry_scheduled", _the_customer_pays),
    "held for a person": Case("hard_declined", "needs_attention", _the_customer_pays),
    "not created": Case(None, "retry_scheduled", _the_copy_appears, copies_late_by=300),
    "renewed": Case(None, "renewed", lambda _: None),
}

QUICK = "in progress"
"""The case that `make test` tries. The others are for `make chaos`."""


async def one_due(merchant: Merchant, case: Case, frequency: str, retries: str = "10m") -> tuple[str, Auditor]:
    # Retries come within the hour: during a wait of a day, an hourly subscription would miss its dates.
    await merchant.install(payment_retries=[retries] * 3, brake_share=1.0, max_unconfirmed=1000)
    times = 1 if case.failure else None
    made = merchant.sandbox.create_subscription(frequency=frequency, failure=case.failure, times=times)
    return str(made["id"]), Auditor(merchant.sandbox.database)


async def left_behind(merchant: Merchant, case: Case) -> None:
    """A first run leaves the period as the case says."""
    if case.copies_late_by:
        merchant.sandbox.fault("late", method="POST", path="/api/order_copies", seconds=case.copies_late_by)
    assert (await merchant.sweep()).outcomes == {case.outcome: 1}
    merchant.sandbox.clear_faults()


async def two_more_periods(merchant: Merchant, auditor: Auditor, frequency: str) -> None:
    """Sweep often, as the schedule does, until two more dates have come. Then every period must be renewed."""
    box = merchant.sandbox
    for _ in range(2):
        box.advance(PERIOD[frequency] - 1200)
        for _ in range(3):
            box.advance(600)
            await merchant.sweep()
    findings = auditor.audit(box.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals >= 3


@pytest.mark.parametrize("frequency", ["monthly", pytest.param("hourly", marks=pytest.mark.chaos)])
@pytest.mark.parametrize("tries", [ALL_TRIES, pytest.param([1], marks=pytest.mark.chaos)], ids=["lost", "late"])
@pytest.mark.parametrize(
    "left", [QUICK, *(pytest.param(each, marks=pytest.mark.chaos) for each in CASES if each != QUICK)]
)
async def test_a_late_record_of_a_settled_period_loses_no_period_and_charges_none_twice(
    merchant: Merchant, left: str, tries: list[int], frequency: str
) -> None:
    case = CASES[left]
    _, auditor = await one_due(merchant, case, frequency)
    merchant.sandbox.fault("late", **RECORD, seconds=LATE_BY, nth=tries)

    await left_behind(merchant, case)
    case.resolve(merchant)
    await merchant.sweep()

    await two_more_periods(merchant, auditor, frequency)


@pytest.mark.chaos
async def test_a_late_record_of_a_retry_delays_no_later_date_once_the_order_is_paid(merchant: Merchant) -> None:
    _, auditor = await one_due(merchant, CASES["waiting for a retry"], "hourly", retries="1d")
    merchant.sandbox.fault("late", **RECORD, seconds=LATE_BY, nth=ALL_TRIES)
    await left_behind(merchant, CASES["waiting for a retry"])
    _the_customer_pays(merchant)
    await merchant.sweep()

    await two_more_periods(merchant, auditor, "hourly")


@pytest.mark.chaos
@pytest.mark.parametrize("left", [QUICK, "waiting for a retry"])
async def test_old_metadata_that_a_crm_writes_back_loses_no_period_and_charges_none_twice(
    merchant: Merchant, left: str
) -> None:
    case = CASES[left]
    subscription_id, auditor = await one_due(merchant, case, "monthly")
    await left_behind(merchant, case)
    read_by_the_crm = merchant.subscription(subscription_id)["metadata"]
    case.resolve(merchant)
    merchant.sandbox.advance(2 * 86_400)  # all retries are due
    await merchant.sweep()

    async with merchant.dashboard() as crm:
        await crm.update_subscription(subscription_id, metadata={**read_by_the_crm, "crm": "met the customer"})

    await two_more_periods(merchant, auditor, "monthly")
    assert merchant.subscription(subscription_id)["metadata"]["crm"] == "met the customer"
