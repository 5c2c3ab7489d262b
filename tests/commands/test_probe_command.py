"""`perennial probe` as a command, and where it refuses to begin."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from merchant import UNLIMITED, Merchant
from odd_shop import SECRET, Shop, answer, client_of, resource
from probed_shops import credentials_of, everything

from blocks.commerce_layer.probing import NotTheTestEnvironment, ProbedShop
from blocks.commerce_layer.rate_limit import RateBudget
from blocks.sandbox.control import command_line
from flows.__main__ import main
from flows.cli.installation import credentials_for
from flows.cli.prefect_server import PrefectServer
from flows.cli.probe import CannotProbe, plan_of

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
