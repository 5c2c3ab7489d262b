"""One order copy by hand: create, poll, branch, record."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.by_hand import ManualOutcome
from flows.tasks.by_hand import ask_for, create_by_hand, record_by_hand
from flows.tasks.copies import poll_order_copy
from flows.tasks.shop import open_shop
from flows.tasks.states import green, red, run


@flow(name="reorder", flow_run_name="reorder {source_order_id}")
async def reorder(
    source_order_id: str,
    reference: str | None = None,
    place_target_order: bool = True,
    apply_promotions: bool = False,
    ignore_invalid_coupon: bool = False,
    reuse_wallet: bool = True,
    credentials: str = "commerce-layer",
    policy: str = "default",
) -> State[Any]:
    """
    Copy one order by hand, exactly once, and follow the copy to its end.

    Running it again with the same reference finds the first copy instead of making a second one.

    Args:
        source_order_id: Id of the order to copy: the ten letters in its address in the dashboard, not its number.
        reference: Your reference for the copy. Leave it empty to have one made of the order and this run.
        place_target_order: Place the new order, which charges the customer. Without it, the order is left as a draft.
        apply_promotions: Compute promotions anew instead of copying the discounts of the source order.
        ignore_invalid_coupon: Drop a coupon that is no longer valid instead of failing.
        reuse_wallet: Pay with the payment source that the customer saved in their wallet.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block; its deadlines and words for failures apply.
    """
    options = {
        "place_target_order": place_target_order,
        "apply_promotions": apply_promotions,
        "ignore_invalid_coupon": ignore_invalid_coupon,
        "reuse_wallet": reuse_wallet,
    }
    async with open_shop(credentials, policy, as_of=None) as shop:
        work = await ask_for(shop, source_order_id, reference, options)
        step = await create_by_hand(shop, work)
        evidence = await run(poll_order_copy, shop, step)
        result = await run(record_by_hand, shop, step, evidence)
    if result.outcome is ManualOutcome.COMPLETED:
        return green("Completed", result.sentence, result.as_dict())
    if result.outcome is ManualOutcome.FAILED:
        return red("NeedsAttention", result.sentence, result.as_dict())
    return green(result.outcome.title().replace("_", ""), result.sentence, result.as_dict())
