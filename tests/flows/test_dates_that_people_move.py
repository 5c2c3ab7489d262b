"""Dates that people move at the wrong moment, dates out of range, clocks that differ: none causes a second charge."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import stored_runs
from meanwhile import patch
from merchant import Merchant
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
from flows.cli.installation import credentials_for

NEVER, YEAR_ONE = "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"
LONG_AGO = {"next_run_at": "0019-01-01T00:00:00Z", "starts_at": "2026-01-01T06:00:00Z"}


def move(merchant: Merchant, made: dict[str, Any], **later: float) -> None:
    """Move the date to that much later than now, as the customer would, and let the time pass."""
    date = merchant.sandbox.clock() + timedelta(**later)
    patch(merchant, "order_subscriptions", made["id"], next_run_at=date.isoformat())
    merchant.sandbox.advance(timedelta(**later).total_seconds() + 60)


async def test_a_date_moved_close_to_the_last_renewal_is_reported_once_and_charged_only_after_a_release(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    (order,) = (each["id"] for each in merchant.target_orders())
    move(merchant, made, hours=15)

    first, second = await merchant.sweep(), await merchant.sweep()

    assert first.name == "Failed"
    assert first.message.startswith("1 needs a person")
    (row,) = await stored_runs.table(first.flow_run_id)
    assert f"order {order} of the period of" in row["why"]
    assert "release it to have it charged all the same, or move next_run_at" in row["why"]
    assert second.name == "Completed"
    assert len(merchant.placed()) == 1
    assert len(merchant.copies()) == 1, "no copy was made for the moved date"

    await merchant.hand_over(made["id"], handover="release")
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(set(merchant.placed())) == 2


async def test_a_date_that_is_corrected_is_renewed_without_a_release(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep()
    move(merchant, made, hours=15)
    await merchant.sweep()

    move(merchant, made, days=28)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 2


async def test_a_yearly_renewal_whose_record_was_lost_is_found_40_days_later(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(frequency="yearly")
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()
    merchant.sandbox.clear_faults()
    assert len(merchant.placed()) == 1
    move(merchant, made, days=40)

    later = [await merchant.sweep(), await merchant.sweep()]

    assert [each.outcomes for each in later] == [{"already_renewed": 1}, {}]
    assert len(merchant.placed()) == 1


async def test_a_weekly_subscription_that_is_paid_late_is_not_charged_again_at_the_next_sweep(
    merchant: Merchant,
) -> None:
    merchant.sandbox.create_subscription(frequency="weekly", failure="hard_declined")
    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    (copy,) = merchant.copies()
    merchant.sandbox.advance(7 * 86400 - 900)
    merchant.sandbox.customer_pays(copy["target_order_id"])
    assert sum((await merchant.sweep()).outcomes.values()) == 1
    merchant.sandbox.advance(1800)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert len(merchant.placed()) == 1
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert copy["target_order_id"] in row["why"]


async def test_a_monthly_subscription_that_was_moved_stays_on_its_new_day(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep()
    move(merchant, made, days=35)
    new_day = merchant.subscription(made["id"])["next_run_at"]
    for _ in range(2):
        await merchant.sweep()
        due = datetime.fromisoformat(merchant.subscription(made["id"])["next_run_at"])
        assert (due.day, due.hour, due.minute) == (
            datetime.fromisoformat(new_day).day, datetime.fromisoformat(new_day).hour,
            datetime.fromisoformat(new_day).minute,
        )  # fmt: skip
        merchant.sandbox.advance((due - merchant.sandbox.clock()).total_seconds() + 60)
    assert len(merchant.placed()) == 3


async def test_a_daily_subscription_120_days_behind_catches_up_only_as_far_as_the_policy_says(
    merchant: Merchant,
) -> None:
    await merchant.install(catch_up="all")
    began = merchant.sandbox.clock() - timedelta(days=120)
    merchant.sandbox.create_subscription(frequency="daily", starts_at=began.isoformat(), next_run_at=began.isoformat())
    for _ in range(3):
        await merchant.sweep()
    assert len(merchant.placed()) == 3


async def test_a_subscription_that_expired_two_years_ago_is_not_renewed_today(merchant: Merchant) -> None:
    due, ended_at = (merchant.sandbox.clock() - timedelta(days=days) for days in (740, 730))
    merchant.sandbox.create_subscription(
        starts_at=due.isoformat(), next_run_at=due.isoformat(), expires_at=ended_at.isoformat()
    )
    ended = await merchant.sweep()
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert "it expired on" in row["why"]
    assert merchant.copies() == []


# --- dates out of range -------------------------------------------------------------------------------


async def test_dates_out_of_range_do_not_keep_other_subscriptions_from_being_adopted_and_renewed(
    merchant: Merchant,
) -> None:
    box = merchant.sandbox
    native = {"adopted": False, "next_run_at": (box.clock() + timedelta(days=1)).isoformat()}
    good, ends_never = (box.create_subscription(**native, **more)["id"] for more in ({}, {"expires_at": NEVER}))
    odd = [
        box.create_subscription(**{**native, **more})["id"]
        for more in ({"next_run_at": NEVER}, LONG_AGO, {"starts_at": NEVER}, {"starts_at": YEAR_ONE})
    ]

    adopted = await merchant.hand_over(*odd, good, ends_never)

    assert adopted.message == "2 adopted, 4 refused"
    for each in odd:
        patch(merchant, "order_subscriptions", each, metadata={"perennial": {}})
    box.advance(86400 + 60)
    ended = await merchant.sweep()
    assert ended.outcomes["renewed"] == 2
    assert ended.name == "Failed", "a date from which no next one can be counted needs a person"
    assert sorted(each[:10] for each in merchant.placed()) == sorted([good, ends_never])


@pytest.mark.parametrize(
    "dates", [{"next_run_at": NEVER}, LONG_AGO, {"starts_at": NEVER}, {"expires_at": NEVER}, {"expires_at": YEAR_ONE}]
)
def test_a_subscription_with_a_date_out_of_range_can_be_explained(
    shop: Merchant, dates: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = shop.sandbox.create_subscription(**dates)
    assert main(["explain", made["id"], "--credentials", shop.name, "--policy", shop.name]) == 0
    assert made["id"] in capsys.readouterr().out


# --- the shop's clock -----------------------------------------------------------------------------------


class ShopIsAhead(SandboxClock):
    """The local clock, when the shop's is `ahead` of it."""

    def __init__(self, sandbox: RunningSandbox, ahead: timedelta) -> None:
        super().__init__(sandbox)
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() - self._ahead


async def compare_clocks(merchant: Merchant, seconds: int) -> None:
    """Save the merchant's credentials block so that clocks are compared, as they are with a real shop."""
    box = merchant.sandbox
    block = credentials_for(box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url)
    block.max_clock_skew_seconds = seconds
    await block.asave(merchant.name, overwrite=True)


@pytest.mark.parametrize("ahead", [timedelta(days=31), timedelta(minutes=6), -timedelta(minutes=6)])
async def test_a_sweep_is_refused_if_the_shops_clock_differs_from_ours(merchant: Merchant, ahead: timedelta) -> None:
    merchant.sandbox.create_subscription()
    await compare_clocks(merchant, 300)

    with use_clock(ShopIsAhead(merchant.sandbox, ahead)):
        ended = await merchant.sweep()

    assert ended.name == "Failed"
    for words in ("The shop's clock says", "more than 300 s apart", "`max_clock_skew_seconds`", "Nothing was renewed"):
        assert words in ended.message
    assert merchant.copies() == []


async def test_clocks_that_differ_a_little_are_accepted(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    await compare_clocks(merchant, 300)
    with use_clock(ShopIsAhead(merchant.sandbox, timedelta(minutes=4))):
        assert (await merchant.sweep()).outcomes == {"renewed": 1}
