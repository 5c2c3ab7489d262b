"""One batch of a large sweep, on any worker of the pool: the same renewals, with a brake of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.renew import renew
from flows.run.context import open_run
from flows.run.report import final_state, open_report
from flows.sweep.batching import hand_in
from flows.sweep.first_look import Due
from flows.sweep.pacing import in_waves


@flow(name="renew-batch")
async def renew_batch(
    subscription_ids: list[str], as_of: datetime, credentials: str = "commerce-layer", policy: str = "default"
) -> State[Any]:
    """
    Renew these subscriptions, exactly once each. A sweep that is shared among workers starts it.

    It is safe to run twice: it leaves alone what is no longer due, and several runs place the same order.

    Args:
        subscription_ids: The subscriptions in this batch.
        as_of: The instant up to which the sweep renews (UTC).
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block to renew by.
    """
    async with open_run(credentials, policy, as_of) as run, open_report(run) as report:
        report.expect(len(subscription_ids))
        await in_waves(run, report, [Due(each) for each in subscription_ids], renew)
        summary = report.summary()
        await hand_in(summary)
    return final_state(summary)
