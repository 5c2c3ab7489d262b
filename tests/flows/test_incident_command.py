"""`perennial incident`: what a run did, found in the shop, and the withdrawal of what it left unplaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from meanwhile import Meanwhile, patch
from merchant import Merchant
from prefect import flow
from prefect.client.orchestration import get_client

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.resources import Order
from blocks.policy import Policy
from flows.__main__ import main
from flows.cli.installation import credentials_for, install
from flows.renew import renew_subscriptions
from flows.renew_batch import renew_batch
from flows.rules.order_copies import noted


@pytest.fixture
def blocks(shop: Merchant) -> list[str]:
    return ["--credentials", shop.name, "--policy", shop.name]


@pytest.fixture
def stopped(shop: Merchant) -> Iterator[None]:
    """All charging is stopped."""
    assert main(["stop", "an incident"]) == 0
    yield
    main(["go"])


def incident(capsys: pytest.CaptureFixture[str], *given: object) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON output."""
    capsys.readouterr()
    code = main(["incident", "--json", *map(str, given)])
    return code, json.loads(capsys.readouterr().out)


def sweep(shop: Merchant, name: str = "a sweep") -> UUID:
    """A sweep of this name; its id."""
    named = renew_subscriptions.with_options(flow_run_name=name)
    state = asyncio.run(named(credentials=shop.name, policy=shop.name, return_state=True))
    run_id = state.state_details.flow_run_id
    assert isinstance(run_id, UUID)
    return run_id


def standings(facts: dict[str, Any]) -> list[str]:
    return [each["standing"] for each in facts["orders"]]


def statuses(shop: Merchant) -> list[str]:
    return [order["status"] for order in shop.target_orders()]


def test_everything_that_a_sweep_did_is_listed_with_amounts_dates_and_links(shop: Merchant, blocks, capsys) -> None:
    paid = shop.sandbox.create_subscription(total_cents=4_200)["id"]
    declined = shop.sandbox.create_subscription(failure="declined")["id"]
    run_id = sweep(shop)

    code, facts = incident(capsys, run_id, *blocks)

    assert (code, standings(facts), facts["charged_cents"]) == (0, ["placed", "unplaced"], {"EUR": 4_200})
    assert facts["sentence"] == (
        "2 order copies made; 1 order placed (42.00 EUR), 1 unplaced; 2 subscriptions recorded"
    )
    assert facts["flow_run"]["flow"] == "renew-subscriptions"
    (order,) = [each for each in shop.target_orders() if each["status"] == "placed"]
    assert facts["orders"][0]["link"].endswith(f"/apps/orders/list/{order['id']}")
    told = {each["subscription_id"]: each["sentence"] for each in facts["subscriptions"]}
    assert told[paid].startswith("renewed; its date was moved on from the period of ")
    assert told[declined].startswith("retry scheduled; its date was not moved: ")


def test_a_person_reads_what_was_placed_first_and_that_nothing_was_changed(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.create_subscription(failure="declined")
    shop.sandbox.create_subscription(total_cents=4_200)
    run_id = sweep(shop)

    assert main(["incident", str(run_id), *blocks]) == 0

    said = capsys.readouterr().out
    assert "a sweep   renew-subscriptions" in said
    assert said.index("placed on ") < said.index("not placed: --withdraw cancels it")
    assert "nothing was changed; --withdraw cancels 1 unplaced order\n" in said


def test_a_run_that_prefect_has_lost_is_found_in_the_shop_by_its_id_and_by_its_name(
    shop: Merchant, blocks, capsys
) -> None:
    shop.sandbox.create_subscription()
    name = f"sweep {uuid4().hex}"
    run_id = sweep(shop, name)
    assert incident(capsys, name, *blocks)[1]["flow_run"]["name"] == name
    asyncio.run(_delete(run_id))

    for named in (run_id, str(run_id).upper(), name):
        code, facts = incident(capsys, named, *blocks)
        assert (code, facts["flow_run"], standings(facts)) == (0, None, ["placed"])


async def _delete(run_id: UUID) -> None:
    async with get_client() as prefect:
        await prefect.delete_flow_run(run_id)


def test_the_batches_of_a_sweep_belong_to_it_even_if_prefect_has_lost_them(shop: Merchant, blocks, capsys) -> None:
    made = [shop.sandbox.create_subscription()["id"] for _ in range(2)]

    @flow(name="renew-subscriptions")
    async def sweep_with_one_batch() -> None:
        await renew_batch(made, shop.sandbox.clock(), shop.name, shop.name)

    state = asyncio.run(sweep_with_one_batch(return_state=True))
    sweep_id = state.state_details.flow_run_id
    assert isinstance(sweep_id, UUID)

    _, facts = incident(capsys, sweep_id, *blocks)
    (batch_id,) = facts["flow_run"]["runs_that_it_started"]
    asyncio.run(_delete(sweep_id))
    asyncio.run(_delete(UUID(batch_id)))
    _, found_in_the_shop = incident(capsys, sweep_id, *blocks)

    assert standings(facts) == standings(found_in_the_shop) == ["placed", "placed"]
    assert facts["flow_run_ids"] == found_in_the_shop["flow_run_ids"] == sorted([str(sweep_id), batch_id])
    assert sum(each["is_recorded_by_this_run"] for each in found_in_the_shop["subscriptions"]) == 2


def test_a_reorder_by_hand_is_listed_with_its_reference(shop: Merchant, blocks, capsys) -> None:
    source = shop.sandbox.create_subscription(next_run_at="2099-01-01T00:00:00Z")["source_order_id"]
    ended = asyncio.run(shop.reorder(source, reference="goodwill-7"))

    _, facts = incident(capsys, ended.flow_run_id, *blocks)

    assert [(each["standing"], each["reference"], each["subscription_id"]) for each in facts["orders"]] == [
        ("placed", "goodwill-7", None)
    ]


def test_what_a_later_run_has_recorded_is_not_claimed_to_be_known(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.create_subscription(failure="declined", times=1)
    first = sweep(shop)
    shop.sandbox.advance(2 * 86_400)
    second = sweep(shop)

    (of_first,) = incident(capsys, first, *blocks)[1]["subscriptions"]
    _, of_second = incident(capsys, second, *blocks)

    assert of_first["sentence"].startswith(f"run {second} has written it since: what this run wrote is not known; ")
    assert standings(of_second) == ["placed"]
    assert of_second["orders"][0]["order_copy_id"] is None


def test_nothing_is_withdrawn_while_charging_is_on(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.create_subscription(failure="declined")
    run_id = sweep(shop)
    before = statuses(shop)

    code, facts = incident(capsys, run_id, "--withdraw", *blocks)

    assert (code, facts["withdrawn"], facts["still_unplaced"]) == (2, 0, 1)
    assert "stop charging first (`perennial stop" in facts["error"]
    assert statuses(shop) == before
    assert before in (["draft"], ["pending"])


def test_a_withdrawal_cancels_the_unplaced_orders_of_this_run_alone_and_their_periods_are_renewed_once(
    shop: Merchant, blocks, capsys, stopped: None
) -> None:
    for _ in range(2):
        shop.sandbox.create_subscription()
    first = sweep(shop)
    shop.sandbox.create_subscription()
    second = sweep(shop)

    code, facts = incident(capsys, first, "--withdraw", *blocks)

    assert (code, facts["withdrawn"], facts["still_unplaced"]) == (0, 2, 0)
    assert {each["sentence"] for each in facts["orders"]} == {f"cancelled (undone: flow run {first})"}
    assert sorted(set(statuses(shop)) - {"cancelled"}) in (["draft"], ["pending"])
    assert standings(incident(capsys, second, *blocks)[1]) == ["unplaced"]
    assert incident(capsys, first, "--withdraw", *blocks)[1]["withdrawn"] == 0
    main(["go"])
    sweep(shop)
    assert len(shop.placed()) == len(set(shop.placed())) == 3


def test_an_order_that_is_placed_meanwhile_is_not_cancelled(shop: Merchant, blocks, capsys, stopped: None) -> None:
    shop.sandbox.create_subscription()
    run_id = sweep(shop)
    (order,) = shop.target_orders()

    clock = Meanwhile(shop, lambda: True, lambda: patch(shop, "orders", order["id"], _place=True))
    with use_clock(clock):
        code, facts = incident(capsys, run_id, "--withdraw", *blocks)

    assert clock.has_acted
    assert (code, facts["withdrawn"], standings(facts)) == (0, 0, ["placed by others"])
    assert statuses(shop) == ["placed"]


def test_an_order_that_is_placed_between_its_last_read_and_its_cancellation_is_told_to_a_person(
    shop: Merchant, blocks, capsys, stopped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sandbox.create_subscription()
    run_id = sweep(shop)
    (order,) = shop.target_orders()

    def noted_too_late(read: Order, key: str, value: str) -> dict[str, Any]:
        patch(shop, "orders", read.id, _place=True)
        return noted(read, key, value)

    monkeypatch.setattr("flows.run.withdrawals.noted", noted_too_late)
    code, facts = incident(capsys, run_id, "--withdraw", *blocks)

    assert (code, facts["placed_and_voided"]) == (1, [order["id"]])
    assert facts["orders"][0]["sentence"] == f"cancelled after it was placed (undone: flow run {run_id})"


def test_a_cancellation_that_fails_is_told_and_can_be_repeated(shop: Merchant, blocks, capsys, stopped: None) -> None:
    shop.sandbox.create_subscription()
    run_id = sweep(shop)
    shop.sandbox.fault("status", method="PATCH", path="/api/orders/*", status=503)

    code, facts = incident(capsys, run_id, "--withdraw", *blocks)
    shop.sandbox.clear_faults()

    assert (code, facts["withdrawn"], facts["still_unplaced"]) == (1, 0, 1)
    assert incident(capsys, run_id, "--withdraw", *blocks)[0] == 0
    assert statuses(shop) == ["cancelled"]


def refused(capsys: pytest.CaptureFixture[str], *given: object) -> str:
    assert main(["incident", *map(str, given)]) == 2
    return capsys.readouterr().err


def test_a_run_that_is_not_known_or_not_ours_is_a_clear_error(shop: Merchant, blocks, capsys) -> None:
    @flow(name="somebody-elses")
    def somebody_elses() -> None:
        pass

    theirs = somebody_elses(return_state=True).state_details.flow_run_id

    assert "'nothing' is neither the id nor the name of a flow run" in refused(capsys, "nothing", *blocks)
    assert "nothing in organization perennial-sandbox (test mode) names it" in refused(capsys, uuid4(), *blocks)
    assert "FLOW_RUN is empty" in refused(capsys, " ", *blocks)
    assert "is a run of the flow 'somebody-elses', and nothing in organization perennial-sandbox" in refused(
        capsys, theirs, *blocks
    )
    assert "no-such-policy" in refused(capsys, "nothing", *blocks[:2], "--policy", "no-such-policy")


def test_a_name_of_several_runs_is_an_error_that_lists_them(shop: Merchant, blocks, capsys) -> None:
    name = f"sweep {uuid4().hex}"
    runs = {str(sweep(shop, name)), str(sweep(shop, name))}

    said = refused(capsys, name, *blocks)

    assert f"2 runs are named '{name}'; give the id of one: " in said
    assert all(each in said for each in runs)


def test_a_run_of_another_organization_is_an_error_that_names_its_credentials(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.create_subscription()
    run_id = sweep(shop)
    box, here = shop.sandbox, f"{shop.name}-here"
    rest = (box.client_id, box.client_secret, "test", box.api_url, box.auth_url)

    async def rename() -> None:
        await install(credentials_for(box.organization, *rest), Policy(), credentials_name=here, policy_name=here)
        await credentials_for("acme", *rest).asave(shop.name, overwrite=True)

    asyncio.run(rename())

    said = refused(capsys, run_id, "--credentials", here, "--policy", here)

    assert "worked for organization acme (test mode), not for perennial-sandbox (test mode)" in said
    assert f"add --credentials {shop.name}" in said
