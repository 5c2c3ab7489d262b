"""Customers who pay the open order of a held subscription themselves."""

from __future__ import annotations

from merchant import Merchant


async def test_a_held_subscription_goes_on_by_itself_when_its_customer_pays(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="hard_declined")
    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    (copy,) = merchant.copies()
    held = await merchant.sweep()
    assert held.outcomes == {"skipped": 1}

    merchant.sandbox.customer_pays(copy["target_order_id"])
    paid = await merchant.sweep()

    assert paid.name == "Completed"
    assert sum(paid.outcomes.values()) == 1
    assert "skipped" not in paid.outcomes
    assert len(merchant.copies()) == 1
    state = merchant.subscription(made["id"])
    assert state["metadata"]["perennial"]["held"] is False
    assert state["next_run_at"] > merchant.sandbox.clock().isoformat()
    assert (await merchant.sweep()).outcomes == {}
