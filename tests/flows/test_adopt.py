"""Adopting, releasing and giving back subscriptions, on a real Prefect server and a sandbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from meanwhile import Meanwhile, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main


def native(sandbox: RunningSandbox, days: int = 3, **members: Any) -> str:
    """Create a subscription that Commerce Layer renews by itself, due in `days` days."""
    due = sandbox.clock().replace(second=0, microsecond=0) + timedelta(days=days)
    given = {"status": "active", "metadata": {"crm": 7}, "next_run_at": due.isoformat()} | members
    return str(sandbox.create_subscription(**given)["id"])


async def test_adopted_subscriptions_are_renewed_by_perennial_only(merchant: Merchant) -> None:
    ids = [native(merchant.sandbox) for _ in range(3)]
    due = merchant.subscription(ids[0])["next_run_at"]

    adopted = await merchant.hand_over(all_active=True)

    assert (adopted.name, adopted.message) == ("Completed", "3 adopted")
    one = merchant.subscription(ids[0])
    assert (one["status"], one["next_run_at"], one["metadata"]["crm"]) == ("inactive", due, 7)
    merchant.sandbox.advance(3 * 86400 + 3600)
    assert merchant.copies() == []
    assert (await merchant.sweep()).outcomes == {"renewed": 3}
    assert len(merchant.copies()) == 3


async def test_a_dry_run_says_everything_and_changes_nothing(merchant: Merchant) -> None:
    ids = [native(merchant.sandbox), native(merchant.sandbox, status="draft")]
    before = [merchant.subscription(each) for each in ids]

    shown = await merchant.hand_over(*ids, dry_run=True)

    assert (shown.name, shown.message) == ("Completed", "dry run: 1 would be adopted, 1 refused")
    assert [row["handling"] for row in shown.facts["rows"]] == ["refused", "change"]
    assert [merchant.subscription(each) for each in ids] == before


async def test_refused_subscriptions_fail_the_run_and_the_others_are_adopted(merchant: Merchant) -> None:
    good, soon = native(merchant.sandbox), native(merchant.sandbox, days=0, status="running")

    adopted = await merchant.hand_over(good, soon, "NoSuchOne0")

    assert (adopted.name, adopted.message) == ("Failed", "1 adopted, 2 refused")
    assert merchant.subscription(good)["status"] == "inactive"
    assert merchant.subscription(soon)["metadata"] == {"crm": 7}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_lost_answer_only_one_engine_renews_the_subscription_and_the_next_run_completes(
    merchant: Merchant, when: str
) -> None:
    one = native(merchant.sandbox)
    merchant.sandbox.fault("reset", when=when, method="PATCH", path="/api/order_subscriptions/*", times=1)

    first = await merchant.hand_over(one)

    row = merchant.subscription(one)
    assert (row["status"], "perennial" in row["metadata"]) == (
        ("active", False) if when == "before" else ("inactive", True)
    )
    assert first.name == ("Failed" if when == "before" else "Completed")
    second = await merchant.hand_over(one)
    assert second.name == "Completed"
    assert merchant.subscription(one)["status"] == "inactive"


async def test_adopting_all_inactive_subscriptions_leaves_out_those_that_a_customer_paused(merchant: Merchant) -> None:
    paused = native(merchant.sandbox, days=-30, status="inactive")
    ready = native(merchant.sandbox, status="inactive")

    adopted = await merchant.hand_over(all_inactive=True)

    assert adopted.message == "1 adopted, 1 refused"
    assert "perennial" in merchant.subscription(ready)["metadata"]
    assert merchant.subscription(paused)["metadata"] == {"crm": 7}


async def test_a_held_subscription_is_released_and_renewed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="hard_declined")
    merchant.sandbox.create_subscription(next_run_at="2099-01-01T00:00:00Z")
    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    merchant.sandbox.set_failure(made["source_order_id"], None)

    released = await merchant.hand_over(all_inactive=True, handover="release")

    assert released.message == "1 released"
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.copies()) == 1


async def test_a_subscription_that_is_given_back_is_renewed_natively_again(merchant: Merchant) -> None:
    one = native(merchant.sandbox, days=3)
    await merchant.hand_over(one)

    given = await merchant.hand_over(one, handover="give_back")

    assert (given.name, given.message) == ("Completed", "1 given back")
    row = merchant.subscription(one)
    assert (row["status"], row["metadata"]) == ("active", {"crm": 7})
    merchant.sandbox.advance(4 * 86400)
    assert len(merchant.copies()) == 1
    assert (await merchant.sweep()).outcomes == {}


async def test_a_run_without_subscriptions_or_with_both_ids_and_all_active_is_refused(merchant: Merchant) -> None:
    neither = await merchant.hand_over()
    both = await merchant.hand_over("AbcdefghiJ", all_active=True)

    assert neither.name == both.name == "Failed"
    assert "either" in neither.message


def test_the_adopt_command_changes_nothing_without_apply(shop: Merchant, capsys) -> None:
    one = native(shop.sandbox)
    blocks = ["--credentials", shop.name, "--policy", shop.name]

    assert main(["adopt", one, *blocks]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert main(["adopt", one, "--apply", *blocks]) == 0
    assert "1 adopted" in capsys.readouterr().out
    assert shop.subscription(one)["status"] == "inactive"
    assert main(["adopt", "NoSuchOne0", "--apply", *blocks]) == 1


def test_the_adopt_command_names_the_block_that_is_not_set_up(shop: Merchant, capsys) -> None:
    assert main(["adopt", "AbcdefghiJ", "--credentials", "no-such-block"]) == 2
    assert "no-such-block" in capsys.readouterr().err


async def test_what_is_written_while_a_handover_waits_for_the_rate_limit_is_not_overwritten(merchant: Merchant) -> None:
    ids = [native(merchant.sandbox) for _ in range(2)]
    await merchant.hand_over(*ids)
    await merchant.install(limits=RateLimits(writes_per_minute=1))

    def paused() -> list[str]:
        return [each for each in ids if merchant.subscription(each)["metadata"]["perennial"].get("paused")]

    def crm_writes() -> None:
        (waiting,) = set(ids) - set(paused())
        metadata = merchant.subscription(waiting)["metadata"]
        patch(merchant, "order_subscriptions", waiting, metadata={**metadata, "crm": 8})

    clock = Meanwhile(merchant, lambda: len(paused()) == 1, crm_writes)
    with use_clock(clock):
        ended = await merchant.hand_over(*ids, handover="pause")

    assert clock.has_acted
    assert (ended.name, ended.message) == ("Failed", "1 paused, 1 failed: run it again")
    assert "it was changed a moment ago" in str(ended.facts["rows"])
    assert sorted(merchant.subscription(each)["metadata"]["crm"] for each in ids) == [7, 8]
    await merchant.install()
    assert (await merchant.hand_over(*ids, handover="pause")).message == "1 paused, 1 need nothing"
    assert paused() == ids
