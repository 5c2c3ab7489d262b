"""Adopts native subscriptions, releases held ones, gives adopted ones back, pauses and resumes."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.handover import Handover, HandoverRequest
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
    Hand subscriptions over to Perennial, or back to Commerce Layer's own engine.

    It only shows what it would do, unless dry_run is switched off. It is safe to run twice, or again after a run that
    died: it does not repeat what is done already. At no time do both engines renew a subscription, and the date of its
    next renewal does not change.

    Args:
        subscriptions: Ids of subscriptions: the ten letters in their address in the dashboard.
        all_active: All subscriptions that Commerce Layer renews now.
        all_inactive: All inactive ones, except overdue ones: the customer may have paused them.
        handover: adopt them, release those that are held for a person, give them back, pause them, or resume them.
        dry_run: Only show what would be done.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block.

    Raises:
        ValueError: ids and statuses are both given, or neither.
    """
    statuses = [name for name, wanted in (("active", all_active), ("inactive", all_inactive)) if wanted]
    if bool(subscriptions) == bool(statuses):
        raise ValueError("Name the subscriptions: either by id in subscriptions, or with all_active and all_inactive.")
    request = HandoverRequest(Handover(handover), named=not statuses)
    async with open_run(credentials, policy, as_of=None) as run:
        found = await run_task(find_subscriptions, run, request, subscriptions or [], statuses)
        result = await run_task(hand_over, run, request, found, dry_run=dry_run)
    facts = {"sentence": result.sentence, "rows": result.rows, "dry_run": dry_run}
    if result.needs_person and not dry_run:
        return failed(result.sentence, facts)
    return completed(f"dry run: {result.sentence}" if dry_run else result.sentence, facts)
