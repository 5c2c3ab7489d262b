"""The scheduled sweep: find who is due, renew each exactly once, say plainly how it went."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.tasks.batching import share_among_workers
from flows.tasks.parameters import Instant
from flows.tasks.reports import final_state, open_report, publish_summary
from flows.tasks.shop import open_shop, sweep_name
from flows.tasks.states import run
from flows.tasks.subscriptions import find_due_subscriptions
from flows.tasks.sweeping import Sweep


@flow(name="renew-subscriptions", flow_run_name=sweep_name)
async def renew_subscriptions(
    as_of: Instant | None = None,
    subscriptions: list[str] | None = None,
    credentials: str = "commerce-layer",
    policy: str = "default",
    distribute: bool = False,  # noqa: FBT001 - a form has checkboxes
) -> State[Any]:
    """
    Renew every subscription that is due, exactly once, and say plainly how it went.

    Safe to run at any time, late, twice, or several at once: a renewal that another run has made is found
    by its reference and adopted. A run that was killed is finished by the next one.

    Args:
        as_of: Renew what is due up to this instant (UTC). Leave it empty to renew what is due now.
        subscriptions: Renew only these, by id, if they are due. Leave it out to renew everyone who is due.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block to renew by.
        distribute: Share a sweep larger than the policy's batch size among the workers of the pool.
    """
    async with open_shop(credentials, policy, as_of) as shop, open_report(shop) as report:
        due = await run(find_due_subscriptions, shop, report, subscriptions)
        if distribute and len(due) > shop.terms.batch_size:
            await share_among_workers(shop, report, due, credentials)
        else:
            await Sweep(shop, report).renew(due)
        summary = await run(publish_summary, shop, report)
    return final_state(summary)
