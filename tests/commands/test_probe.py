"""`perennial probe` finds out how a shop behaves, in its test environment only, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from meanwhile import Meanwhile
from merchant import UNLIMITED, Merchant
from odd_shop import SECRET, Shop, answer, client_of, resource
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.probing import NotTheTestEnvironment, ProbedShop
from blocks.commerce_layer.rate_limit import RateBudget
from blocks.sandbox.control import command_line
from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
from flows.cli.installation import credentials_for
from flows.cli.prefect_server import PrefectServer
from flows.cli.probe import CannotProbe, Ended, carry_out, plan_of
from flows.rules.probing import NoAnswer, Question, settings_of

USUAL = {
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
THIRD = {"copy-pays": "subscription", "missing-card": "newest", "list-lag": 20}
FOURTH = {"occurrencies": "successes", "created-card": "none", "write-counters": "per-method"}
MEASURED = {"list-lag": 0.5, "late-creations": 0.25, "queue-seconds": 0.5}
"""How far what is measured may be off, as a share of it, where copies or lists are late."""

TABLES = ("order_copies", "orders", "order_subscriptions", "customer_payment_sources", "tags")


def options_of(settings: dict[str, Any]) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def credentials_of(box: RunningSandbox) -> CommerceLayerCredentials:
    return credentials_for(
        box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED
    )


async def probed(box: RunningSandbox, order_id: str, spare_card: str | None = None) -> Ended:
    return await carry_out(await plan_of(credentials_of(box), order_id, spare_card))


def everything(merchant: Merchant) -> list[dict[str, Any]]:
    """All rows that a probe could leave or change."""
    return [row for table in TABLES for row in merchant.rows(f"SELECT * FROM {table} ORDER BY id")]


def said(ended: Ended, question: Question) -> str:
    return next(each.said for each in ended.found if each.question is question)


@pytest.fixture(scope="module")
def box() -> Iterator[RunningSandbox]:
    with RunningSandbox("--frozen", "--limits", "off") as running:
        yield running


@pytest.fixture
def shop(box: RunningSandbox) -> Iterator[Merchant]:
    """A merchant whose shop has behaved well so far."""
    box.clear_faults()
    merchant = Merchant(box)
    with use_clock(SandboxClock(box)):
        yield merchant
    box.clear_faults()


@pytest.fixture
def order_id(box: RunningSandbox) -> str:
    return str(box.create_subscription()["source_order_id"])


@pytest.mark.parametrize(
    ("differs", "unknown"),
    [
        ({}, set()),
        (OTHERS, {"missing-card", "occurrencies"}),
        (THIRD, {"pending-without-card", "occurrencies"}),
        (FOURTH, set()),
    ],
    ids=["usual", "others", "third", "fourth"],
)
def test_it_finds_how_a_shop_behaves_and_leaves_nothing_behind(differs: dict[str, Any], unknown: set[str]) -> None:
    with RunningSandbox("--frozen", "--limit-clock", "virtual", *options_of({**USUAL, **differs})) as box:
        merchant = Merchant(box)
        made = box.create_subscription()
        before = everything(merchant)
        with use_clock(SandboxClock(box)):
            ended = asyncio.run(probed(box, made["source_order_id"]))

        assert ended.left == ()
        assert everything(merchant) == before
    found = settings_of(ended.found)
    for name, expected in {**USUAL, **differs}.items():
        share = MEASURED.get(name, 0) if differs.keys() & MEASURED.keys() else 0
        assert name in unknown or found[name] == (pytest.approx(expected, rel=share) if share else expected), name
    assert found.keys() == USUAL.keys() - unknown


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


# --- where it refuses -----------------------------------------------------------------------------


def test_a_live_environment_is_refused_before_anything_is_sent(shop: Merchant, order_id: str) -> None:
    box = shop.sandbox
    live = credentials_for(box.organization, box.client_id, box.client_secret, "live", box.api_url, box.auth_url)
    box.reset_counters()

    with pytest.raises(NotTheTestEnvironment, match="belong to the live one"):
        asyncio.run(plan_of(live, order_id))

    assert box.counters()["requests"] == {}


@pytest.fixture
def odd_shop() -> Iterator[Shop]:
    running = Shop()
    yield running
    running.stop()


def organization(mode: str | None) -> dict[str, Any]:
    return {"data": {"id": "orgOrgOrgO", "type": "organizations", "attributes": {}, "meta": {"mode": mode}}}


@pytest.mark.parametrize(
    ("mode", "says"), [("live", "the organization belongs to the live environment"), (None, "does not say which")]
)
async def test_an_organization_that_is_not_known_to_be_a_test_is_refused(
    odd_shop: Shop, mode: str | None, says: str
) -> None:
    odd_shop.on("GET", "/api/organization", answer(200, organization(mode)))
    block = credentials_for("acme", "client-id", SECRET, "test", f"{odd_shop.url}/api", f"{odd_shop.url}/oauth/token")

    with pytest.raises(NotTheTestEnvironment, match=says):
        await plan_of(block, "orderOrder")

    assert {(seen.method, seen.path) for seen in odd_shop.seen} == {
        ("POST", "/oauth/token"), ("GET", "/api/organization")
    }  # fmt: skip


async def test_the_environment_is_looked_at_right_before_each_request_that_may_charge(odd_shop: Shop) -> None:
    async with client_of(odd_shop, budget=RateBudget("odd", "test", UNLIMITED)) as client:
        shop = ProbedShop(client, "probe-1")
        odd_shop.on("GET", "/api/organization", answer(200, organization("test")))
        await shop.require_test()
        odd_shop.on("GET", "/api/organization", answer(200, organization("live")))
        for request in (
            shop.copy("orderOrder"), shop.copy_that_fails("orderOrder"), shop.place("orderOrder", {}),
            shop.subscribe("orderOrder", is_run=True), shop.activate("subSubSubS"),
            shop.run_subscription("subSubSubS", datetime(2030, 1, 1, tzinfo=UTC)),
        ):  # fmt: skip
            with pytest.raises(NotTheTestEnvironment):
                await request

    assert {(seen.method, seen.path) for seen in odd_shop.seen} == {
        ("POST", "/oauth/token"), ("GET", "/api/organization")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("transactions", "count"),
    [
        ([("authorizations", True)], 1),
        ([("authorizations", True), ("authorizations", False), ("captures", True)], 1),
        ([("authorizations", True), ("authorizations", True)], 2),
        ([("captures", True)], 1),
        ([], 0),
    ],
)
async def test_charges_are_the_authorizations_that_succeeded_or_else_the_captures(
    odd_shop: Shop, transactions: list[tuple[str, bool]], count: int
) -> None:
    made = [resource(kind, f"trans{place}", succeeded=good) for place, (kind, good) in enumerate(transactions)]
    document = {"data": resource("orders", "orderOrder"), "included": made}
    odd_shop.on("GET", "/api/orders/orderOrder", answer(200, document))
    async with client_of(odd_shop, budget=RateBudget("odd", "test", UNLIMITED)) as client:
        assert await ProbedShop(client, "probe-1").count_charges("orderOrder") == count


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "pending"}, "is pending: name one that is placed"),
        ({"customer_id": None}, "has no customer: name the order of a customer"),
        ({"total_amount_with_taxes_cents": 0}, "costs nothing: name one that is paid with a card"),
    ],
)
def test_an_order_that_cannot_be_used_is_refused(
    shop: Merchant, order_id: str, change: dict[str, Any], says: str
) -> None:
    (column, value), *_ = change.items()
    with closing(sqlite3.connect(shop.sandbox.database)) as database, database:
        database.execute(f"UPDATE orders SET {column} = ? WHERE id = ?", (value, order_id))

    with pytest.raises(CannotProbe, match=says):
        asyncio.run(plan_of(credentials_of(shop.sandbox), order_id))


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def saved(server: PrefectServer, shop: Merchant) -> Merchant:
    """The merchant, with blocks in the Prefect server."""
    asyncio.run(shop.install())
    return shop


def test_the_command_prints_and_writes_what_the_sandbox_takes(
    saved: Merchant, order_id: str, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "my-shop.json"

    code = main(["probe", "--source-order", order_id, "--yes", "-o", str(file), "--credentials", saved.name])

    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert f"test environment: the probe copies order #{number_of(saved, order_id)}" in printed.out
    assert "Which card pays for a copy?" in printed.out
    assert "--copy-pays source-order" in printed.out
    assert "not found out: nothing is known that aborts" in printed.out
    assert f"python -m blocks.sandbox --as {file}" in printed.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for shown in (printed.out, printed.err, file.read_text()):
        assert saved.sandbox.client_secret not in shown
        assert "eyJ" not in shown  # a token
    settings = command_line.settings_of(command_line.options_of(command_line.parser(), ["--as", str(file)]))
    assert (settings.copy_pays, settings.missing_card) == ("source-order", "pending")


def test_without_a_terminal_it_creates_nothing_unless_told(saved: Merchant, order_id: str, capsys) -> None:
    before = everything(saved)

    assert main(["probe", "--source-order", order_id, "--credentials", saved.name]) == 2

    assert "there is no terminal to ask: agree with --yes\nnothing was created" in capsys.readouterr().err
    assert everything(saved) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--credentials", "SHOP"], "there is no order 'nosuchordr' in the test environment of"),
        (["--credentials", "SHOP", "-o", "/no/such/folder/file"], "there is no folder /no/such/folder"),
        (["--credentials", "no-such-block"], "no-such-block"),
    ],
)
def test_what_is_missing_is_a_clear_error(saved: Merchant, given: list[str], says: str, capsys) -> None:
    blocks = [saved.name if each == "SHOP" else each for each in given]

    assert main(["probe", "--source-order", "nosuchordr", *blocks, "--yes"]) == 2

    assert says in capsys.readouterr().err


def number_of(merchant: Merchant, order_id: str) -> str:
    (row,) = merchant.rows("SELECT number FROM orders WHERE id = ?", order_id)
    return str(row["number"])
