"""A worker is killed while it prepares a renewal, or places a prepared order: it is charged once all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from card_charges import charges
from chaos.worker_launcher import WorkerLauncher
from merchant import Merchant

HOURS = 20


async def with_a_renewal_ahead(merchant: Merchant, **members: object) -> None:
    await merchant.install(prepare_ahead="24h", brake_share=1.0, payment_retries=["1d"], max_unconfirmed=1000)
    due = (merchant.sandbox.clock() + timedelta(hours=HOURS)).replace(second=0, microsecond=0)
    merchant.sandbox.create_subscription(next_run_at=due.isoformat(), **members)


async def killed(merchant: Merchant, launcher: WorkerLauncher, point: str) -> None:
    worker = launcher.start(merchant, kill_at=point)
    assert await worker.wait() is None, "the worker should have been killed"


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("with a creation ready to send", marks=pytest.mark.chaos),
        "with the answer to a creation",
        pytest.param("before it polls", marks=pytest.mark.chaos),
        pytest.param("after it polled", marks=pytest.mark.chaos),
    ],
)
async def test_what_a_worker_killed_while_it_prepares_has_left_is_used_when_it_is_due(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    await with_a_renewal_ahead(merchant)

    await killed(merchant, launcher, point)
    ended = await merchant.sweep()
    assert ended.facts["ahead"]["ready"] == 1
    merchant.sandbox.advance(HOURS * 3600)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.copies()) == 1
    assert len(merchant.placed()) == 1


@pytest.mark.parametrize("failure", [None, "declined"])
@pytest.mark.parametrize(
    "point",
    [
        pytest.param("with a placement ready to send", marks=pytest.mark.chaos),
        "with the answer to a placement",
        pytest.param("before the record", marks=pytest.mark.chaos),
    ],
)
async def test_a_worker_killed_around_the_placement_of_a_prepared_order_has_made_one_attempt(
    merchant: Merchant, launcher: WorkerLauncher, point: str, failure: str | None
) -> None:
    await with_a_renewal_ahead(merchant, **({"failure": failure} if failure else {}))
    await merchant.sweep()
    merchant.sandbox.advance(HOURS * 3600)

    await killed(merchant, launcher, point)
    await merchant.sweep()
    await merchant.sweep()

    assert len(charges(merchant)) == 1
    assert len(merchant.placed()) == (0 if failure else 1)


@pytest.mark.parametrize(
    "point", [pytest.param("before it withdraws an order", marks=pytest.mark.chaos), "after it withdrew an order"]
)
async def test_a_worker_killed_while_it_withdraws_a_prepared_order_charges_once(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    await with_a_renewal_ahead(merchant)
    await merchant.sweep()
    (copy,) = merchant.copies()
    merchant.sandbox.advance(60)
    merchant.sandbox.change_price(copy["target_order_id"], total_cents=99_900)
    merchant.sandbox.advance(HOURS * 3600)

    await killed(merchant, launcher, point)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert [order["status"] for order in merchant.target_orders()] == ["cancelled", "placed"]
