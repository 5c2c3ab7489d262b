"""Answers that are lost, late, garbled or refused: a copy too many would be a charge too many."""

from __future__ import annotations

from typing import Any

import pytest
from chaos.checker import Auditor
from merchant import Merchant

DUE = 4
CREATION = {"method": "POST", "path": "/api/order_copies"}


async def renewed_in_the_end(merchant: Merchant, auditor: Auditor, sweeps: int = 3) -> None:
    merchant.sandbox.clear_faults()
    for _ in range(sweeps):
        merchant.sandbox.advance(3600)
        await merchant.sweep()
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == len(auditor.contracts)


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


def _quick_ones_first(faults: list[dict[str, Any]]) -> list[Any]:
    quick = {"reset before", "reset after", "status 502 after"}
    return [
        pytest.param(fault, id=_in_words(fault), marks=() if _in_words(fault) in quick else pytest.mark.chaos)
        for fault in faults
    ]


@pytest.mark.parametrize("fault", _quick_ones_first(LOST))
async def test_a_creation_without_a_usable_answer_is_found_or_made_later_never_twice(
    merchant: Merchant, fault: dict[str, Any]
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault(**CREATION, **fault, nth=[1, 3])

    ended = await merchant.sweep()

    if fault.get("when", "after") == "after":
        assert ended.outcomes == {"renewed": DUE}, "what was made is found within the settle time"
    else:
        assert ended.outcomes == {"renewed": DUE - 2, "unconfirmed": 2}
    await renewed_in_the_end(merchant, auditor, 1)


@pytest.mark.parametrize("seconds", [5, 59])
async def test_a_copy_that_appears_only_after_its_sender_gave_up_is_found(merchant: Merchant, seconds: int) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", **CREATION, seconds=seconds, times=2)

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    await renewed_in_the_end(merchant, auditor, 1)


async def test_a_copy_that_appears_after_the_settle_time_is_found_by_the_next_sweep(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", **CREATION, seconds=300, times=2)

    assert (await merchant.sweep()).outcomes == {"renewed": DUE - 2, "unconfirmed": 2}
    merchant.sandbox.advance(400)

    await renewed_in_the_end(merchant, auditor, 1)


async def test_a_copy_that_arrives_after_the_next_look_is_seen_as_a_duplicate_and_stops_the_sweep(
    merchant: Merchant,
) -> None:
    """The one thing that no client can prevent against an API without idempotency keys."""
    merchant.sandbox.seed(1)
    merchant.sandbox.fault("late", **CREATION, seconds=300, times=1)
    assert (await merchant.sweep()).outcomes == {"unconfirmed": 1}
    merchant.sandbox.fault("late", **CREATION, seconds=600, times=1)
    assert (await merchant.sweep()).outcomes == {"unconfirmed": 1}
    merchant.sandbox.advance(1000)

    ended = await merchant.sweep()

    assert len(merchant.copies()) == 2
    assert ended.name == "NeedsAttention"
    assert "two order copies" in ended.message


@pytest.mark.parametrize(
    "look",
    [
        {"method": "GET", "path": "/api/order_copies", "match": "reference_in"},
        {"method": "GET", "path": "/api/order_copies", "match": "created_at"},
        {"method": "GET", "path": "/api/order_subscriptions", "match": "source_order"},
        {"method": "GET", "path": "/api/order_subscriptions", "match": "id_in"},
    ],
    ids=["the copies", "foreign copies", "rival subscriptions", "the subscriptions"],
)
@pytest.mark.parametrize(
    "how",
    [
        {"action": "status", "status": 500},
        pytest.param({"action": "malformed"}, marks=pytest.mark.chaos),
        pytest.param({"action": "reset"}, marks=pytest.mark.chaos),
    ],
    ids=_in_words,
)
async def test_nothing_is_created_when_a_look_cannot_be_read(
    merchant: Merchant, look: dict[str, Any], how: dict[str, Any]
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault(**look, **how)

    await merchant.sweep()

    assert merchant.copies() == []
    await renewed_in_the_end(merchant, auditor, 1)


async def test_a_token_revoked_in_the_middle_is_replaced_and_nothing_is_sent_twice(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("revoke", **CREATION, nth=[2])
    merchant.sandbox.fault("revoke", method="GET", path="/api/order_copies", nth=[3])

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    await renewed_in_the_end(merchant, auditor, 1)


async def test_a_storm_of_refusals_for_the_rate_delays_and_doubles_nothing(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("throttle", path="/api/*", share=0.3)

    await merchant.sweep()

    await renewed_in_the_end(merchant, auditor)


async def test_the_clock_of_the_shop_jumping_ahead_renews_nobody_twice(merchant: Merchant) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", **CREATION, seconds=30, times=1)
    await merchant.sweep()
    merchant.sandbox.advance(20 * 86_400)  # not far enough for the next period
    await merchant.sweep()
    await renewed_in_the_end(merchant, auditor, 1)
