"""Who renews which subscription: adopt native ones, release held ones, give adopted ones back, pause and resume."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.adoption import Handover, HandoverRequest
from flows.run.context import open_run
from flows.run.states import completed, failed, run_task
from flows.tasks.adopting import find_subscriptions, hand_over


@flow(name="adopt-subscriptions", flow_run_name="{handover}, dry run: {dry_run}")
async def adopt_subscriptions(
    subscriptions: list[str] | None = None,
    all_active: bool = False,
    all_inactive: bool = False,
    handover: Literal["adopt", "release", "give_back", "pause", "resume"] = "adopt",
    dry_run: bool = True,
    credentials: str = "commerce-layer",
    policy: str = "default",
) -> State[Any]:
    """
    Put subscriptions into Perennial's hands, or back into those of Commerce Layer's own engine.

    Shows what it would do, unless dry_run is switched off. Safe to run twice, or again after a run that died:
    what is done already is left as it is. A subscription is never in two hands, and the date of its next
    renewal stays.

    Args:
        subscriptions: Ids of subscriptions: the ten letters in their address in the dashboard.
        all_active: All subscriptions that Commerce Layer renews now.
        all_inactive: All inactive ones. Those that are overdue, perhaps paused by the customer, are left out.
        handover: adopt them, release those that are held for a person, give them back, pause them, or resume them.
        dry_run: Only show what would be done.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block.

    Raises:
        ValueError: neither or both of ids and statuses are given.
    """
    statuses = [name for name, wanted in (("active", all_active), ("inactive", all_inactive)) if wanted]
    if bool(subscriptions) == bool(statuses):
        raise ValueError("Say whom it concerns: either subscriptions by id, or all_active and all_inactive.")
    request = HandoverRequest(Handover(handover), named=not statuses)
    async with open_run(credentials, policy, as_of=None) as run:
        found = await run_task(find_subscriptions, run, request, subscriptions or [], statuses)
        result = await run_task(hand_over, run, request, found, dry_run=dry_run)
    facts = {"sentence": result.sentence, "rows": result.rows, "dry_run": dry_run}
    if result.needs_person and not dry_run:
        return failed(result.sentence, facts)
    return completed(f"dry run: {result.sentence}" if dry_run else result.sentence, facts)
