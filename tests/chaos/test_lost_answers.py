"""Lost, late, garbled and refused answers may cause a surplus copy, but never a second charge."""

from __future__ import annotations

from typing import Any

import pytest
from chaos.checker import Auditor, Findings
from merchant import Merchant

DUE = 4
CREATION = {"method": "POST", "path": "/api/order_copies"}
PLACEMENT = {"method": "PATCH", "path": "/api/orders/*", "match": "_place"}


async def renewed_in_the_end(merchant: Merchant, auditor: Auditor, sweeps: int = 3) -> Findings:
    merchant.sandbox.clear_faults()
    for _ in range(sweeps):
        merchant.sandbox.advance(3600)
        await merchant.sweep()
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == len(auditor.contracts)
    return findings


LOST = [
    {"action": "reset", "when": "before"},
    {"action": "reset", "when": "after"},
    {"action": "close", "when": "after"},
    {"action": "truncate"},
    {"action": "malformed"},
    {"action": "status", "status": 502, "when": "before"},
    {"action": "status", "status": 502, "when": "after"},
    {"action": "status", "status": 500, "body": "json", "when": "after"},
    {"action": "status", "status": 504, "body": "text", "when": "after"},
    {"action": "status", "status": 408, "when": "after"},
    {"action": "status", "status": 200, "body": "html", "when": "after"},
]


def _in_words(fault: dict[str, Any]) -> str:
    return " ".join(str(part) for part in fault.values())


def _chaos_unless_quick(faults: list[dict[str, Any]]) -> list[Any]:
    quick = {"reset before", "reset after", "status 502 after"}
    return [
        pytest.param(fault, id=_in_words(fault), marks=() if _in_words(fault) in quick else pytest.mark.chaos)
        for fault in faults
    ]


@pytest.mark.parametrize("fault", _chaos_unless_quick(LOST))
async def test_a_creation_without_a_usable_answer_is_looked_up_and_sent_again_if_it_was_not_carried_out(
    merchant: Merchant, fault: dict[str, Any]
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault(**CREATION, **fault, nth=[1, 3])

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    assert (await renewed_in_the_end(merchant, auditor, 1)).surplus == 0


@pytest.mark.parametrize("fault", _chaos_unless_quick(LOST))
async def test_a_placement_without_a_usable_answer_is_looked_up_and_sent_again_if_it_was_not_carried_out(
    merchant: Merchant, fault: dict[str, Any]
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault(**PLACEMENT, **fault, nth=[1, 3])

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    sent = merchant.sandbox.counters()["requests"]["PATCH /api/orders/{id}"]
    assert sent == (DUE if fault.get("when", "after") == "after" else DUE + 2)
    await renewed_in_the_end(merchant, auditor, 1)


@pytest.mark.parametrize("seconds", [5, 59, 300])
async def test_a_copy_that_appears_after_its_run_has_made_another_one_is_surplus(
    merchant: Merchant, seconds: int
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", **CREATION, seconds=seconds + DUE, times=2)

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}
    merchant.sandbox.advance(seconds)

    assert (await renewed_in_the_end(merchant, auditor, 1)).surplus == 2


async def test_many_copies_that_appear_after_their_runs_have_ended_cost_one_charge(merchant: Merchant) -> None:
    merchant.sandbox.seed(1)
    auditor = Auditor(merchant.sandbox.database)
    for seconds in (300, 600):
        merchant.sandbox.fault("late", **CREATION, seconds=seconds, times=3)
        assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    assert merchant.copies() == []
    merchant.sandbox.advance(1000)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert (await renewed_in_the_end(merchant, auditor, 1)).surplus == 5


@pytest.mark.parametrize("answer", ["lost", "at_commit"])
async def test_a_placement_that_is_carried_out_late_charges_once(merchant: Merchant, answer: str) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", **PLACEMENT, seconds=30, answer=answer, nth=[1, 2])
    merchant.sandbox.fault("late", **PLACEMENT, seconds=40, times=1)

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    await renewed_in_the_end(merchant, auditor, 1)


FIRST_LOOK = {
    "the copies": {"path": "/api/order_copies", "match": "source_order_id_in"},
    "the subscriptions and their rivals": {"path": "/api/order_subscriptions", "match": "source_order_id_in"},
}
HOW = [
    {"action": "status", "status": 500},
    pytest.param({"action": "malformed"}, marks=pytest.mark.chaos),
    pytest.param({"action": "reset"}, marks=pytest.mark.chaos),
]


@pytest.mark.parametrize("look", FIRST_LOOK)
@pytest.mark.parametrize("how", HOW, ids=_in_words)
async def test_nothing_is_created_when_a_read_of_the_first_look_fails(
    merchant: Merchant, look: str, how: dict[str, Any]
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault(**FIRST_LOOK[look], **how)

    await merchant.sweep()

    assert merchant.copies() == []
    await renewed_in_the_end(merchant, auditor, 1)


@pytest.mark.parametrize("how", HOW, ids=_in_words)
async def test_nothing_is_placed_when_the_last_look_fails(merchant: Merchant, how: dict[str, Any]) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault(**FIRST_LOOK["the copies"], **how, nth=list(range(2, 100)))  # all except the first look

    await merchant.sweep()

    assert len(merchant.copies()) == DUE
    assert auditor.audit(merchant.sandbox.clock()).renewals == 0
    await renewed_in_the_end(merchant, auditor, 1)


@pytest.mark.parametrize("how", HOW, ids=_in_words)
async def test_nothing_is_placed_when_the_last_look_lacks_a_subscription_that_cannot_be_listed_by_itself(
    merchant: Merchant, how: dict[str, Any]
) -> None:
    odd = {each: {"frequency": None} for each in merchant.sandbox.seed(DUE)["subscription_ids"]}
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("odd", **FIRST_LOOK["the copies"], changes=odd)
    # All except the first look, which needs this list, too.
    merchant.sandbox.fault(**FIRST_LOOK["the subscriptions and their rivals"], **how, nth=list(range(2, 100)))

    await merchant.sweep()

    assert len(merchant.copies()) == DUE
    assert auditor.audit(merchant.sandbox.clock()).renewals == 0
    await renewed_in_the_end(merchant, auditor, 1)


async def test_a_token_revoked_during_a_sweep_is_replaced_and_no_period_is_charged_twice(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("revoke", **CREATION, nth=[2])
    merchant.sandbox.fault("revoke", method="GET", path="/api/order_copies", nth=[3])

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    await renewed_in_the_end(merchant, auditor, 1)


async def test_many_429_answers_lose_no_period_and_charge_none_twice(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("throttle", path="/api/*", share=0.3)

    await merchant.sweep()

    await renewed_in_the_end(merchant, auditor)


async def test_a_jump_of_the_shops_clock_renews_no_period_twice(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", **CREATION, seconds=30, times=1)
    merchant.sandbox.fault("late", **PLACEMENT, seconds=30, times=1)
    await merchant.sweep()
    merchant.sandbox.advance(20 * 86_400)  # not far enough for the next period
    await merchant.sweep()
    await renewed_in_the_end(merchant, auditor, 1)
