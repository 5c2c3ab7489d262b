"""One batch of a large sweep, on whichever worker takes it: the same renewals, the same leases, a brake of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.tasks.batching import hand_in
from flows.tasks.reports import final_state, open_report
from flows.tasks.shop import open_shop
from flows.tasks.sweeping import Sweep


@flow(name="renew-batch")
async def renew_batch(
    subscription_ids: list[str], as_of: datetime, credentials: str = "commerce-layer", policy: str = "default"
) -> State[Any]:
    """
    Renew these subscriptions, exactly once each. Started by a sweep that is shared among workers.

    Safe to run twice: whoever is no longer due, or is being renewed by another run, is left alone.

    Args:
        subscription_ids: Whose renewals are in this batch.
        as_of: The instant up to which the sweep renews (UTC).
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block to renew by.
    """
    async with open_shop(credentials, policy, as_of) as shop, open_report(shop) as report:
        report.expect(len(subscription_ids))
        await Sweep(shop, report).renew(subscription_ids)
        summary = report.summary()
        await hand_in(summary)
    return final_state(summary)
