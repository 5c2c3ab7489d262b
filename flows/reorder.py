"""One order copy by hand: create it, poll it, place its order, and report."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.findings import CopyEnded, Finding, HeldBack, LeftAlone, NotCreated, StillRunning
from flows.rules.manual_copy import ManualOutcome
from flows.rules.next_action import Place
from flows.run.context import open_run
from flows.run.states import completed, failed, run_task
from flows.tasks.create import create_order_copy
from flows.tasks.place import place_target_order as place_the_order
from flows.tasks.poll import poll_order_copy
from flows.tasks.reordering import look_at_order, record_manual_copy


@flow(name="reorder", flow_run_name="reorder {source_order_id}")
async def reorder(
    source_order_id: str,
    reference: str | None = None,
    place_target_order: bool = True,
    apply_promotions: bool = False,
    ignore_invalid_coupon: bool = False,
    reuse_wallet: bool = True,
    besides_renewal: bool = False,
    credentials: str = "commerce-layer",
    policy: str = "default",
) -> State[Any]:
    """
    Copy one order by hand, exactly once, and wait until the copy has ended.

    If you run it again with the same reference, it finds the first copy, and places the same order. An
    order whose renewal is due, or was just placed, is copied only with `besides_renewal`.

    Args:
        source_order_id: Id of the order to copy: the ten letters in its address in the dashboard, not its number.
        reference: Your reference for the copy. If it is empty, one is made from the order and this run.
        place_target_order: Place the new order, which charges the customer. Without it, the order is left unplaced.
        apply_promotions: Compute promotions anew instead of copying the discounts of the source order.
        ignore_invalid_coupon: Drop a coupon that is no longer valid instead of failing.
        reuse_wallet: Pay with the payment source that the customer saved in their wallet.
        besides_renewal: Copy the order also while its renewal is due or was just placed: the customer gets both.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block whose deadlines and words for failures apply.
    """
    options = {
        "apply_promotions": apply_promotions,
        "ignore_invalid_coupon": ignore_invalid_coupon,
        "reuse_wallet": reuse_wallet,
    }
    async with open_run(credentials, policy, as_of=None) as run:
        work = await look_at_order(
            run, source_order_id, reference, options, place=place_target_order, besides_renewal=besides_renewal
        )
        creation = await run_task(create_order_copy, run, work)
        polled = await run_task(poll_order_copy, run, work, creation)
        finding: Finding | LeftAlone
        match polled:
            case Place():
                finding = await run_task(place_the_order, run, work, creation, polled)
            case CopyEnded() | StillRunning() | NotCreated() | HeldBack():
                finding = polled
        ended = await run_task(record_manual_copy, run, work, finding)
    tell = failed if ended.outcome is ManualOutcome.FAILED else completed
    return tell(ended.sentence, ended.as_dict())
