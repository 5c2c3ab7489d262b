"""`perennial failed`, asked about a sandbox whose sweeps have failed in several ways."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from meanwhile import patch
from merchant import Merchant

from flows.__main__ import main


@pytest.fixture
def blocks(shop: Merchant) -> list[str]:
    return ["--credentials", shop.name, "--policy", shop.name]


def failed(capsys: pytest.CaptureFixture[str], blocks: list[str], *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON output."""
    code = main(["failed", "--json", *options, *blocks])
    return code, json.loads(capsys.readouterr().out)


def swept(shop: Merchant) -> dict[str, str]:
    """A shop after a sweep: the ids of its subscriptions, by how their renewals ended."""
    made = {
        "waiting": shop.sandbox.create_subscription(failure="declined", total_cents=9_900),
        "lost card": shop.sandbox.create_subscription(failure="hard_declined", total_cents=4_200),
        "dear": shop.sandbox.create_subscription(failure="hard_declined", total_cents=12_000),
        "renewed": shop.sandbox.create_subscription(),
        "native": shop.sandbox.create_subscription(status="active", next_run_at="2099-01-01T00:00:00Z"),
    }
    shop.sandbox.create_subscription(adopted=False)
    asyncio.run(shop.sweep())
    return {name: str(each["id"]) for name, each in made.items()}


def test_open_failures_are_listed_the_worst_and_most_valuable_first_with_links(shop: Merchant, blocks, capsys) -> None:
    ids = swept(shop)
    writes = shop.sandbox.counters()["requests"]

    code, facts = failed(capsys, blocks)

    found = facts["open_failures"]
    names = {value: name for name, value in ids.items()}
    listed = [names[each["subscription_id"]] for each in found]
    assert code == 1
    assert sorted(listed[:3]) == ["dear", "lost card", "native"]
    assert listed.index("dear") < listed.index("lost card")
    assert listed[3:] == ["waiting"]
    assert facts["sentence"].startswith("4 open failures: 3 wait for a person, 1 waits for its next attempt; ")
    waiting, dear = found[3], found[listed.index("dear")]
    assert (waiting["amount_cents"], waiting["attempts"], waiting["attempts_allowed"]) == (9_900, 1, 5)
    assert waiting["next_attempt_at"] is not None
    assert "declined" in waiting["said_by_the_shop"]
    assert (dear["amount_cents"], dear["class"], dear["waits_for"]) == (12_000, "payment", "a person")
    assert "ask the customer for another card" in dear["what_to_do"]
    assert dear["subscription_link"].endswith(f"/apps/subscriptions/list/{ids['dear']}")
    assert dear["order_link"].rpartition("/")[2] in {order["id"] for order in shop.target_orders()}
    changed = {name for name, count in shop.sandbox.counters()["requests"].items() if count != writes.get(name, 0)}
    assert {name.partition(" ")[0] for name in changed if "/oauth/" not in name} == {"GET"}


def test_a_person_reads_one_paragraph_for_each_failure(shop: Merchant, blocks, capsys) -> None:
    ids = swept(shop)

    assert main(["failed", *blocks]) == 1

    said = capsys.readouterr().out
    assert f"{ids['dear']}   120.00 EUR   since " in said
    assert "attempts: 1 of 5" in said
    assert "nothing: next attempt " in said
    assert said.splitlines()[-1].startswith("4 open failures: ")


def test_a_held_subscription_whose_date_was_moved_is_still_listed_and_a_postponed_retry_is_not(
    shop: Merchant, blocks, capsys
) -> None:
    ids = swept(shop)
    for name in ("dear", "waiting"):
        patch(shop, "order_subscriptions", ids[name], next_run_at="2099-01-01T00:00:00Z")

    _, facts = failed(capsys, blocks)

    assert {each["subscription_id"] for each in facts["open_failures"]} == {
        ids["dear"], ids["lost card"], ids["native"],
    }  # fmt: skip


def test_an_order_that_the_customer_has_paid_waits_for_no_person(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.create_subscription(failure="hard_declined")
    asyncio.run(shop.sweep())
    (order,) = shop.target_orders()
    shop.sandbox.customer_pays(order["id"])

    code, facts = failed(capsys, blocks)

    assert (code, facts["sentence"].partition(";")[0]) == (0, "1 open failure: 1 waits for the next sweep")


def test_nothing_is_open_in_a_shop_without_failures(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.create_subscription()
    asyncio.run(shop.sweep())

    assert main(["failed", *blocks]) == 0

    assert capsys.readouterr().out == "no failure is open\n"


def test_a_spreadsheet_is_written_into_a_file_of_its_owner_or_to_standard_output(
    shop: Merchant, blocks, capsys, tmp_path: Path
) -> None:
    ids, there = swept(shop), tmp_path / "failed.csv"

    assert main(["failed", "--csv", str(there), *blocks]) == 1
    assert f"written to {there}" in capsys.readouterr().out
    assert main(["failed", "--csv", *blocks]) == 1
    printed = capsys.readouterr().out

    assert there.stat().st_mode & 0o777 == 0o600
    with there.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["subscription_id"] for row in rows} == set(ids.values()) - {ids["renewed"]}
    assert {row["amount"] for row in rows} >= {"99.00", "42.00", "120.00"}
    assert [row["subscription_id"] for row in csv.DictReader(printed.splitlines())] == [
        row["subscription_id"] for row in rows
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--csv", "/no/such/folder/failed.csv"],
            "--csv /no/such/folder/failed.csv: it cannot be written: No such file",
        ),
        (["--csv", "--json"], "give either --csv or --json, not both"),
        (["--policy", "no-such-policy"], "There is no RenewalPolicy block named 'no-such-policy'"),
    ],
)
def test_what_cannot_be_done_is_a_clear_error(shop: Merchant, blocks, capsys, options: list[str], said: str) -> None:
    given = [*blocks[:2], *(blocks[2:] if "--policy" not in options else ())]

    assert main(["failed", *options, *given]) == 2

    assert said in capsys.readouterr().err


def test_a_shop_that_does_not_answer_is_a_clear_error_for_machines_too(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.fault("status", status=503)

    code, facts = failed(capsys, blocks)

    assert (code, facts["exit_code"]) == (2, 2)
    assert "503" in facts["error"]
