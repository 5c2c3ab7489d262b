"""A renewal charges the card that the subscription has, whenever it was attached, and never an earlier one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from card_charges import COPY_ENDED, COPY_EXISTS, DAY, QUARTER, Made, attach_card, charges, declined
from meanwhile import Meanwhile, delete, patch
from merchant import Merchant, open_merchant

from blocks.commerce_layer.clock import use_clock
from flows.cli.prefect_server import PrefectServer


async def test_a_card_that_is_attached_before_the_first_attempt_is_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = attach_card(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_an_old_card_that_would_be_declined_is_never_tried(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined")
    new = attach_card(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_a_card_that_the_customer_deleted_is_replaced_by_the_subscriptions_card(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = attach_card(merchant, made)
    delete(merchant, "customer_payment_sources", made["customer_payment_source_id"])

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_if_the_subscription_has_no_card_the_card_of_its_order_is_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    patch(merchant, "order_subscriptions", made["id"], relationships={"customer_payment_source": {"data": None}})

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 1)]


async def test_no_request_is_added_if_the_order_has_the_right_card(merchant: Merchant) -> None:
    for _ in range(5):
        merchant.sandbox.create_subscription()
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 5}
    requests = merchant.sandbox.counters()["requests"]
    assert requests["PATCH /api/orders/{id}"] == 5
    assert requests["PATCH /api/order_subscriptions/{id}"] == 1 + 5  # one asks whether subscriptions may be written
    assert not [name for name in requests if "payment" in name or name == "GET /api/orders/{id}"]


@pytest.mark.parametrize("happened", [COPY_EXISTS, COPY_ENDED])
@pytest.mark.parametrize("failure", [None, "declined"])
async def test_a_card_that_is_attached_between_the_copy_and_the_placement_is_charged(
    merchant: Merchant, happened: str, failure: str | None
) -> None:
    made = merchant.sandbox.create_subscription(failure=failure)
    given: list[str] = []
    clock = Meanwhile(
        merchant, lambda: bool(merchant.rows(happened)), lambda: given.append(attach_card(merchant, made))
    )
    with use_clock(clock):
        ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert charges(merchant) == [(given[0], 1)]


async def test_a_new_card_is_tried_at_the_next_sweep_after_a_decline(merchant: Merchant) -> None:
    made = await declined(merchant)
    merchant.sandbox.advance(QUARTER)
    assert (await merchant.sweep()).outcomes.get("renewed", 0) == 0
    new = attach_card(merchant, made)
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 0), (new, 1)]


async def test_a_new_card_that_is_declined_too_waits_as_the_policy_says(merchant: Merchant) -> None:
    made = await declined(merchant)
    new = attach_card(merchant, made)
    merchant.sandbox.set_card_failure(new, "declined")

    for _ in range(3):
        merchant.sandbox.advance(QUARTER)
        await merchant.sweep()

    assert charges(merchant)[1:] == [(new, 0)]
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["payment_source_id"]) == (2, new)
    assert sorted(state["attempt_cards"].values()) == sorted([made["customer_payment_source_id"], new])


async def test_a_new_card_does_not_wait_for_the_old_cards_limit_on_failed_charges(merchant: Merchant) -> None:
    daily = ["1d", "1d", "1d", "1d"]
    await merchant.install(max_attempts_per_month=5, payment_retries=daily, final_action="skip_period")
    made = merchant.sandbox.create_subscription(frequency="weekly", failure="declined")
    old = made["customer_payment_source_id"]
    for days in (1, 1, 1, 1, 3, 11):
        await merchant.sweep()
        merchant.sandbox.advance(days * DAY + 60)
    assert charges(merchant) == [(old, 0)] * 5
    assert (await merchant.sweep()).outcomes.get("renewed", 0) == 0, "the old card waits for its limit"

    new = attach_card(merchant, made)
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant)[5:] == [(new, 1)]


async def held(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "hard_declined")
    await merchant.sweep()


async def exhausted(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    for _ in range(5):
        await merchant.sweep()
        merchant.sandbox.advance(5 * DAY)


async def exhausted_as(merchant: Merchant, made: Made, cls: str) -> None:
    """Decline the card until the retries are used up. The text of the decline is read as this failure class."""
    await merchant.install(failure_patterns={"Your card was declined": cls})
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    for _ in range(6):
        await merchant.sweep()
        merchant.sandbox.advance(4 * DAY)
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["outcome"], state["error_class"], state["held"]) == ("exhausted", cls, True)


async def exhausted_without_a_readable_reason(merchant: Merchant, made: Made) -> None:
    await exhausted_as(merchant, made, "unknown")


async def exhausted_by_passing_faults(merchant: Merchant, made: Made) -> None:
    await exhausted_as(merchant, made, "transient")


async def waiting(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    await merchant.sweep()
    merchant.sandbox.advance(QUARTER)


async def left_by_a_dead_run(merchant: Merchant, _: Made) -> None:
    await merchant.sweep_that_dies_before_placing()


async def left_by_a_run_that_recorded_nothing(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()
    merchant.sandbox.clear_faults()


async def renewed(merchant: Merchant, _: Made) -> None:
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def not_begun(_: Merchant, __: Made) -> None:
    return


POINTS = [
    not_begun, left_by_a_dead_run, left_by_a_run_that_recorded_nothing, waiting, held, exhausted,
    exhausted_without_a_readable_reason, exhausted_by_passing_faults, renewed,
]  # fmt: skip


async def change_card_and_renew_twice(merchant: Merchant, made: Made, point: Callable[..., Any]) -> None:
    """Change the card at this point of a period: the old card is never charged again, and no renewal is lost."""
    await point(merchant, made)
    old, before = made["customer_payment_source_id"], len(charges(merchant))
    new = attach_card(merchant, made)
    for days in (0, 1, 31, 31):
        merchant.sandbox.advance(days * DAY + QUARTER)
        await merchant.sweep()

    after = charges(merchant)[before:]
    assert (old, 0) not in after
    assert (old, 1) not in after
    assert after == [(new, 1)] * len(after)
    assert len(after) >= 2
    assert len(set(merchant.placed())) == len(merchant.placed())


@pytest.mark.parametrize("point", POINTS)
async def test_after_the_card_is_changed_at_any_point_of_a_period_only_the_new_one_is_charged(
    merchant: Merchant, point: Callable[..., Any]
) -> None:
    made = merchant.sandbox.create_subscription()
    await change_card_and_renew_twice(merchant, made, point)


@pytest.mark.parametrize("copies", ["newest", "subscription"])
@pytest.mark.parametrize("missing", ["pending", "newest"])
async def test_only_the_new_card_is_charged_whichever_card_the_shop_gives_to_a_copy(
    server: PrefectServer, copies: str, missing: str
) -> None:
    async with open_merchant("--copy-pays", copies, "--missing-card", missing) as merchant:
        made = merchant.sandbox.create_subscription()
        merchant.sandbox.advance(1)
        merchant.sandbox.add_payment_source(made["customer_id"])  # the customer's newest card is not the subscription's
        await change_card_and_renew_twice(merchant, made, waiting)
