"""`perennial probe` finds out how a shop behaves, in its test environment only, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from meanwhile import Meanwhile
from merchant import Merchant
from probed_shops import credentials_of, everything, probed
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox
from flows.cli.probe import Ended, plan_of
from flows.rules.probing import NoAnswer, Question, settings_of

USUAL = {
    "placed-again": "charges-once",
    "shown-card": "token",
    "refusal-shows": "error",
    "copied-source": "unchanged",
    "copy-pays": "source-order",
    "missing-card": "pending",
    "native-pays": "subscription",
    "created-card": "source-order",
    "refused-place": "rolls-back",
    "failed-target": "pending",
    "list-lag": 0,
    "late-creations": 0,
    "queue-seconds": 0.5,
    "copy-seconds": 1.5,
    "copy-spread": 0,
    "write-counters": "shared",
    "occurrencies": "runs",
    "pending-without-card": "off",
    "past-expiry": "keeps",
    "meta": "resource",
}
OTHERS = {
    "copy-pays": "newest",
    "native-pays": "source-order",
    "created-card": "none",
    "refused-place": "keeps",
    "failed-target": "draft",
    "list-lag": 3,
    "late-creations": 4,
    "queue-seconds": 2,
    "copy-seconds": 7,
    "write-counters": "per-method",
    "pending-without-card": "on",
    "past-expiry": "inactive",
    "meta": "document",
}
THIRD = {"copy-pays": "subscription", "missing-card": "newest", "list-lag": 20, "placed-again": "charges-again"}
FOURTH = {
    "occurrencies": "successes",
    "created-card": "none",
    "write-counters": "per-method",
    "refusal-shows": "nothing",
    "copied-source": "changes",
}
FIFTH = {"shown-card": "nothing", "copy-spread": 0.5}
MEASURED = {
    "list-lag": {"list-lag": 0.5, "queue-seconds": 0.5},
    "late-creations": {"late-creations": 0.25, "queue-seconds": 0.5},
    "copy-spread": {"copy-spread": 0.5, "copy-seconds": 0.25},
}
"""How far what is measured may be off, as a share of it, where a setting makes lists or copies differ."""


def options_of(settings: dict[str, Any]) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def said(ended: Ended, question: Question) -> str:
    return next(each.said for each in ended.found if each.question is question)


@pytest.mark.parametrize(
    ("differs", "unknown"),
    [
        ({}, set()),
        (OTHERS, {"missing-card", "occurrencies"}),
        (THIRD, {"pending-without-card", "occurrencies"}),
        (FOURTH, set()),
        (FIFTH, {"copy-pays", "native-pays"}),
    ],
    ids=["usual", "others", "third", "fourth", "fifth"],
)
def test_it_finds_how_a_shop_behaves_and_leaves_nothing_behind(differs: dict[str, Any], unknown: set[str]) -> None:
    with RunningSandbox("--frozen", "--limit-clock", "virtual", *options_of({**USUAL, **differs})) as box:
        merchant = Merchant(box)
        made = box.create_subscription()
        before = everything(merchant)
        with use_clock(SandboxClock(box)):
            ended = asyncio.run(probed(box, made["source_order_id"]))

        assert ended.left == ()
        assert unchanged(everything(merchant), differs) == unchanged(before, differs)
    found = settings_of(ended.found)
    shares = {name: share for setting in differs for name, share in MEASURED.get(setting, {}).items()}
    for name, expected in {**USUAL, **differs}.items():
        share = shares.get(name, 0)
        assert name in unknown or found[name] == (pytest.approx(expected, rel=share) if share else expected), name
    assert found.keys() == USUAL.keys() - unknown
    assert ended.exit_code == (differs.get("placed-again") == "charges-again")


def unchanged(rows: list[dict[str, Any]], differs: dict[str, Any]) -> list[dict[str, Any]]:
    """What a probe must not change; where copying an order changes its `updated_at`, all but that."""
    ignored = {"updated_at"} if "copied-source" in differs else set()
    return [{name: value for name, value in row.items() if name not in ignored} for row in rows]


def test_an_order_that_is_charged_each_time_it_is_placed_is_an_answer_that_perennial_cannot_live_with() -> None:
    with RunningSandbox("--limits", "off", "--frozen", "--placed-again", "charges-again") as box:
        source = box.create_subscription()["source_order_id"]
        with use_clock(SandboxClock(box)):
            ended = asyncio.run(probed(box, source))
        charges = Merchant(box).rows("SELECT order_id, COUNT(*) AS times FROM sandbox_charges GROUP BY order_id")

    wrong = [each.question for each in ended.found if each.is_wrong]
    assert said(ended, Question.PLACED_TWICE) == f"no: it shows {charges[0]['times']} authorizations or captures"
    assert (wrong, charges[0]["times"], ended.exit_code) == ([Question.PLACED_TWICE], 3, 1)


@pytest.mark.parametrize(
    ("question", "refused"),
    [
        (Question.PLACED_LATER, {"path": "/api/orders/*", "match": "_place"}),
        (
            Question.EMPTY_PATCH,
            {"path": "/api/order_subscriptions/*", "match": r'"attributes":\s*\{\},\s*"id":\s*"\w+"\}\}$'},
        ),
    ],
)
def test_a_shop_that_refuses_what_perennial_relies_on_is_recognised(
    shop: Merchant, order_id: str, question: Question, refused: dict[str, Any]
) -> None:
    before = everything(shop)
    usual = asyncio.run(probed(shop.sandbox, order_id))
    shop.sandbox.fault("status", method="PATCH", status=422, **refused)

    ended = asyncio.run(probed(shop.sandbox, order_id))

    assert said(usual, question) == "yes"
    assert said(ended, question).startswith("no: PATCH")
    assert ([each.question for each in ended.found if each.is_wrong], ended.exit_code) == ([question], 1)
    assert everything(shop) == before


def test_what_cannot_be_found_out_is_said_with_the_reason(shop: Merchant, order_id: str) -> None:
    shop.sandbox.fault("status", method="POST", path="/api/order_subscriptions", status=422)

    ended = asyncio.run(probed(shop.sandbox, order_id))

    assert said(ended, Question.CREATED_CARD).startswith(
        "not found out: POST /api/order_subscriptions was answered 422"
    )
    assert said(ended, Question.COPY_PAYS) == "not found out: no subscription could be made"
    assert said(ended, Question.WRITE_COUNTERS) == "not found out: the answers have no X-Ratelimit-* headers"
    assert settings_of(ended.found).keys() == USUAL.keys() - {
        *("created-card", "copy-pays", "missing-card", "native-pays", "write-counters"),
        *("occurrencies", "pending-without-card", "past-expiry"),
    }
    assert ended.exit_code == 0


@pytest.mark.parametrize("path", ["order_copies", "order_subscriptions", "customer_payment_sources"])
def test_what_was_made_by_a_request_whose_answer_was_lost_is_removed_too(
    shop: Merchant, order_id: str, path: str
) -> None:
    before = everything(shop)
    shop.sandbox.fault("reset", when="after", method="POST", path=f"/api/{path}", times=1)

    ended = asyncio.run(probed(shop.sandbox, order_id))

    assert ended.left == ()
    assert everything(shop) == before
    assert (said(ended, Question.PLACED_LATER) == "yes") is (path != "order_copies")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process, also where a shell has started the tests in the background and it does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "happened",
    [
        "SELECT 1 FROM order_copies",
        "SELECT 1 FROM orders WHERE reference LIKE 'probe-%' AND status = 'placed'",
        "SELECT 1 FROM order_copies WHERE order_subscription_id IS NOT NULL AND status = 'in_progress'",
        "SELECT 1 FROM order_subscriptions WHERE errors_count > 0 AND reference LIKE 'probe-%'",
    ],
    ids=["a copy exists", "an order is placed", "a run is under way", "a run has failed"],
)
def test_if_it_is_interrupted_it_removes_what_it_has_made(
    box: RunningSandbox, shop: Merchant, order_id: str, happened: str, capsys, interruptible: None
) -> None:
    before = everything(shop)
    clock = Meanwhile(shop, lambda: bool(shop.rows(happened)), lambda: signal.raise_signal(signal.SIGINT))

    with use_clock(clock), pytest.raises(KeyboardInterrupt):
        asyncio.run(probed(box, order_id))

    assert clock.has_acted
    assert everything(shop) == before
    assert "what the probe had made is cancelled or deleted" in capsys.readouterr().err


def test_what_it_has_to_leave_is_named(shop: Merchant, order_id: str) -> None:
    shop.sandbox.fault("status", method="DELETE", path="/api/order_subscriptions/*", status=423)

    ended = asyncio.run(probed(shop.sandbox, order_id))

    assert ended.exit_code == 1
    assert len(ended.left) == 4
    assert all("is not deleted: DELETE /api/order_subscriptions/" in left for left in ended.left)
    statuses = shop.rows("SELECT DISTINCT status FROM order_subscriptions WHERE reference LIKE 'probe-%'")
    assert statuses == [{"status": "cancelled"}]


def test_a_list_that_cannot_be_read_at_the_end_is_named(shop: Merchant, order_id: str) -> None:
    before = everything(shop)
    shop.sandbox.fault("status", method="GET", path="/api/customer_payment_sources", status=422)

    ended = asyncio.run(probed(shop.sandbox, order_id))

    (left,) = ended.left
    assert left.startswith("customer_payment_sources with the reference of this probe could not be listed: GET ")
    assert everything(shop) == before


def test_two_probes_of_the_same_order_at_once_do_not_disturb_each_other() -> None:
    options = {**USUAL, "copy-pays": "newest", "write-counters": "per-method"}

    async def both() -> list[Ended]:
        return await asyncio.gather(*(probed(box, order_id) for _ in range(2)))

    with RunningSandbox("--frozen", "--limit-clock", "virtual", *options_of(options)) as box:
        merchant, order_id = Merchant(box), box.create_subscription()["source_order_id"]
        before = everything(merchant)
        with use_clock(SandboxClock(box)):
            first, second = asyncio.run(both())

        assert everything(merchant) == before
    del options["missing-card"]
    assert settings_of(first.found) == settings_of(second.found) == options
    assert first.left == second.left == ()


# --- cards --------------------------------------------------------------------------------------


@pytest.fixture
def no_new_cards(shop: Merchant) -> dict[str, Any]:
    """A shop that lets no integration make cards, and an order whose customer has two."""
    shop.sandbox.fault("status", method="POST", path="/api/customer_payment_sources", status=422)
    made = shop.sandbox.create_subscription()
    shop.sandbox.advance(1)
    return {**made, "newer": shop.sandbox.add_payment_source(made["customer_id"])}


def test_without_cards_of_its_own_it_asks_with_two_of_the_wallet(shop: Merchant, no_new_cards: dict[str, Any]) -> None:
    before = everything(shop)

    ended = asyncio.run(probed(shop.sandbox, no_new_cards["source_order_id"]))

    assert everything(shop) == before
    found = settings_of(ended.found)
    assert (found["copy-pays"], found["native-pays"]) == ("source-order", "subscription")
    nothing = "not found out: no card of the wallet may be deleted: offer an older one with --spare-card"
    assert said(ended, Question.MISSING_CARD) == said(ended, Question.OCCURRENCIES) == nothing


def test_only_the_card_that_the_merchant_offers_is_deleted(shop: Merchant, no_new_cards: dict[str, Any]) -> None:
    spare = no_new_cards["customer_payment_source_id"]
    cards = shop.rows("SELECT id FROM customer_payment_sources ORDER BY id")

    ended = asyncio.run(probed(shop.sandbox, no_new_cards["source_order_id"], spare))

    assert settings_of(ended.found)["missing-card"] == "pending"
    assert shop.rows("SELECT id FROM customer_payment_sources ORDER BY id") == [
        card for card in cards if card["id"] != spare
    ]


def test_the_newest_card_cannot_be_the_spare_one_and_nothing_is_created(
    shop: Merchant, no_new_cards: dict[str, Any]
) -> None:
    shop.sandbox.reset_counters()

    with pytest.raises(NoAnswer, match="is no older card in the wallet"):
        asyncio.run(plan_of(credentials_of(shop.sandbox), no_new_cards["source_order_id"], no_new_cards["newer"]))

    assert {name.split()[0] for name in shop.sandbox.counters()["requests"]} == {"GET", "POST"}
    assert shop.requests("POST /oauth/token") == sum(
        count for name, count in shop.sandbox.counters()["requests"].items() if name.startswith("POST")
    )
