"""The client and the sandbox, which share no code, agree on how Commerce Layer behaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from client_requests import reason
from merchant import cancel
from odd_shop import HandClock
from pydantic import SecretStr

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import Placement, create_order_copy, place_order
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.errors import NotFound, Refused, WriteFateUnknown
from blocks.commerce_layer.handing_over import hand_over_subscription, make_sure_of_tag
from blocks.commerce_layer.listings import iter_our_copies, iter_with_status
from blocks.commerce_layer.order_search import errors_of_orders, find_placed_orders
from blocks.commerce_layer.rate_limit import RateBudget, RateLimits
from blocks.commerce_layer.rate_limit.stores import RateStore, SqliteStore
from blocks.commerce_layer.statuses import OrderCopyStatus, OrderStatus, SubscriptionStatus
from blocks.commerce_layer.transport import Timeouts
from blocks.sandbox.running import RunningSandbox

DUE = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox("--clock", "2026-03-01T07:00:00Z", "--frozen", "--limits", "off") as running:
        yield running


@pytest.fixture
async def client(sandbox):
    sandbox.clear_faults()
    with use_clock(HandClock()):
        async with client_of(sandbox, RateLimits(unlimited=True)) as commerce_layer:
            yield commerce_layer


def client_of(sandbox: RunningSandbox, limits: RateLimits, store: RateStore | None = None) -> CommerceLayer:
    return CommerceLayer(
        api_url=sandbox.api_url,
        auth_url=sandbox.auth_url,
        organization=sandbox.organization,
        client_id=sandbox.client_id,
        client_secret=SecretStr(sandbox.client_secret),
        mode="test",
        budget=RateBudget(sandbox.api_url, "test", limits, store),
        timeouts=Timeouts(read=2, whole=5),
    )


def subscribe(sandbox: RunningSandbox, **fields) -> dict[str, str]:
    return sandbox.create_subscription(next_run_at=DUE.isoformat(), adopted=True, **fields)


def draft_for(subscription: dict[str, str], number: str = "") -> OrderCopyDraft:
    reference = f"{subscription['id']}@2026-03-01T06:00Z{number}"
    return OrderCopyDraft(
        source_order_id=subscription["source_order_id"], reference=reference, metadata={"perennial": {"attempt": 1}}
    )


async def placement() -> Placement:
    return Placement("r", "o", {"a": {"b": 1}})


async def completed_copy_for(sandbox: RunningSandbox, client: CommerceLayer, subscription: dict[str, str]):
    created = await create_order_copy(client, draft_for(subscription))
    sandbox.advance(60)
    return (await client.get_order_copies([created.id]))[created.id]


async def test_a_renewal_goes_from_due_to_placed(sandbox, client):
    subscription = subscribe(sandbox)
    due = {one.id: one async for page in client.iter_due_subscriptions(DUE) for one in page}
    found = due[subscription["id"]]
    assert (found.status, found.next_run_at, found.source_order_id) == (
        SubscriptionStatus.INACTIVE,
        DUE,
        subscription["source_order_id"],
    )
    assert isinstance(found.metadata["perennial"], dict)

    created = await create_order_copy(client, draft_for(subscription))
    assert (created.status, created.is_final) == (OrderCopyStatus.PENDING, False)
    sandbox.advance(60)

    copy = (await client.get_order_copies([created.id]))[created.id]
    assert (copy.status, copy.source_order_id) == (OrderCopyStatus.COMPLETED, subscription["source_order_id"])
    assert copy.target_order is not None
    assert copy.target_order.status in {OrderStatus.DRAFT, OrderStatus.PENDING}, "copying must not charge the customer"
    assert copy.metadata == {"perennial": {"attempt": 1}}
    assert (copy.mode, copy.place_target_order, copy.reuse_wallet) == ("test", False, True)
    assert copy.created_at is not None

    order = await place_order(client, copy.target_order.id, placement)
    assert order.is_placed
    assert (order.reference, order.reference_origin, order.metadata) == ("r", "o", {"a": {"b": 1}})
    assert (await client.get_order(order.id)) == (await client.get_orders([order.id]))[order.id]

    moved = await client.update_subscription(
        found.id, metadata={"perennial": {"v": 1}}, next_run_at=DUE + timedelta(days=31)
    )
    assert (moved.next_run_at, moved.metadata, moved.source_order_id) == (
        DUE + timedelta(days=31),
        {"perennial": {"v": 1}},
        found.source_order_id,
    )
    assert moved == (await client.get_subscriptions([found.id]))[found.id]


async def test_a_copy_whose_answer_was_lost_is_found_by_its_reference(sandbox, client):
    subscription = subscribe(sandbox)
    draft = draft_for(subscription)
    sandbox.fault("reset", when="after", method="POST", path="/api/order_copies", times=1)

    with pytest.raises(WriteFateUnknown) as caught:
        await create_order_copy(client, draft)

    assert caught.value.reference == draft.reference
    (copy,) = (await client.find_order_copies([draft.reference]))[draft.reference]
    assert (copy.reference, copy.source_order_id) == (draft.reference, draft.source_order_id)


async def test_a_declined_placement_gives_the_reason_and_the_order_can_be_placed_later(sandbox, client):
    copy = await completed_copy_for(sandbox, client, subscribe(sandbox, failure="declined"))
    assert copy.status is OrderCopyStatus.COMPLETED
    assert copy.target_order_id is not None

    with pytest.raises(Refused, match="declined"):
        await place_order(client, copy.target_order_id, placement)
    declined = await client.get_order(copy.target_order_id)
    assert not declined.is_placed
    assert declined.errors_count == 1

    sandbox.customer_pays(copy.target_order_id)
    assert (await place_order(client, copy.target_order_id, placement)).is_placed


async def test_placing_an_order_twice_changes_nothing(sandbox, client):
    copy = await completed_copy_for(sandbox, client, subscribe(sandbox))
    assert copy.target_order_id is not None

    first = await place_order(client, copy.target_order_id, placement)
    again = await place_order(client, copy.target_order_id, placement)

    assert first.is_placed
    assert (again.placed_at, again.payment_status) == (first.placed_at, first.payment_status)


async def test_a_cancelled_order_keeps_its_metadata_and_cannot_be_placed(sandbox, client):
    copy = await completed_copy_for(sandbox, client, subscribe(sandbox))
    assert copy.target_order_id is not None

    for _ in range(2):
        cancelled = await client.cancel_order(copy.target_order_id, reason("why"))
        assert (cancelled.status, cancelled.placed_at) == (OrderStatus.CANCELLED, None)
    with pytest.raises(Refused):
        await place_order(client, copy.target_order_id, placement)

    found = await client.get_order(copy.target_order_id)
    assert (found.status, found.metadata) == (OrderStatus.CANCELLED, {"perennial": {"withdrawn": "why"}})


async def test_an_order_that_was_cancelled_after_it_was_placed_still_says_when_it_was_placed(sandbox, client):
    copy = await completed_copy_for(sandbox, client, subscribe(sandbox))
    assert copy.target_order_id is not None

    placed = await place_order(client, copy.target_order_id, placement)
    cancelled = await client.cancel_order(copy.target_order_id, reason("why"))

    assert (cancelled.status, cancelled.placed_at) == (OrderStatus.CANCELLED, placed.placed_at)


async def test_sixty_due_subscriptions_are_each_listed_once(sandbox, client):
    ids = {subscribe(sandbox)["id"] for _ in range(60)}

    listed = [one.id async for page in client.iter_due_subscriptions(DUE) for one in page]

    assert ids <= set(listed)
    assert len(listed) == len(set(listed))


async def test_nothing_is_due_before_its_time(sandbox, client):
    subscribe(sandbox)

    assert [page async for page in client.iter_due_subscriptions(DUE - timedelta(milliseconds=1))] == []


async def test_other_subscriptions_and_foreign_copies_of_a_source_order_are_found(sandbox, client):
    ours = subscribe(sandbox)
    native = sandbox.create_subscription(
        status="active", source_order_id=ours["source_order_id"], next_run_at="2026-09-01T00:00:00Z"
    )
    sandbox.create_subscription(status="cancelled", source_order_id=ours["source_order_id"])
    foreign = await create_order_copy(client, draft_for(ours).model_copy(update={"reference_origin": "elsewhere"}))

    found = await client.list_subscriptions_of([ours["source_order_id"]])
    copies = await client.list_order_copies_of([ours["source_order_id"]], DUE)

    assert {ours["id"]: "inactive", native["id"]: "active"} == {each.id: each.status for each in found}
    assert [(foreign.id, "elsewhere")] == [(copy.id, copy.reference_origin) for copy in copies]
    assert await client.list_order_copies_of([ours["source_order_id"]], DUE, without=[foreign.id]) == []
    assert (await client.find_order_copies([draft_for(ours).reference]))[draft_for(ours).reference] == []
    assert await client.list_order_copies_of([ours["source_order_id"]], DUE + timedelta(days=300)) == []


async def test_our_copies_since_a_given_time_are_listed_without_those_of_others(sandbox, client):
    first = await create_order_copy(client, draft_for(subscribe(sandbox)))
    foreign = draft_for(subscribe(sandbox)).model_copy(update={"reference_origin": "elsewhere"})
    await create_order_copy(client, foreign)
    sandbox.advance(60)
    second = await create_order_copy(client, draft_for(subscribe(sandbox)))
    assert second.created_at is not None

    async def ours_since(moment: datetime) -> set[str]:
        return {copy.id async for page in iter_our_copies(client, created_since=moment) for copy in page.readable}

    assert {first.id, second.id} <= await ours_since(DUE)
    assert await ours_since(second.created_at) == {second.id}
    pages = iter_our_copies(client, created_since=DUE)
    assert {copy.reference_origin async for page in pages for copy in page.readable} == {"perennial"}


async def test_a_subscription_is_cancelled(sandbox, client):
    subscription = subscribe(sandbox)

    assert (await cancel(client, subscription["id"])).status is SubscriptionStatus.CANCELLED


async def test_missing_resources_are_absent_from_lists_and_not_found_by_id(client):
    assert await client.get_subscriptions(["NoNoNoNoNo"]) == {}
    assert await client.get_order_copies(["NoNoNoNoNo"]) == {}
    with pytest.raises(NotFound):
        await client.get_order("NoNoNoNoNo")
    with pytest.raises((NotFound, Refused)):
        await create_order_copy(client, OrderCopyDraft(source_order_id="NoNoNoNoNo", reference="r"))


async def test_a_next_run_at_in_the_past_is_refused_with_its_pointer(sandbox, client):
    with pytest.raises(Refused) as caught:
        await client.update_subscription(subscribe(sandbox)["id"], next_run_at=DUE)

    assert (caught.value.status, caught.value.code, caught.value.pointer) == (
        422,
        "VALIDATION_ERROR",
        "/data/attributes/next_run_at",
    )


async def test_a_token_that_expires_between_two_requests_is_renewed(sandbox, client):
    subscription = subscribe(sandbox)
    await client.get_order(subscription["source_order_id"])

    sandbox.advance(3 * 3600)

    assert (await client.get_order(subscription["source_order_id"])).is_placed
    assert client.requests_made["POST", "oauth/token"] == 2


@pytest.mark.parametrize("counters", ["shared", "per-method"])
async def test_sending_as_fast_as_the_budget_allows_meets_no_429(counters, tmp_path):
    scale, windows = 0.05, 3
    store = SqliteStore(tmp_path / "budget.sqlite3")
    with RunningSandbox("--limit-scale", str(scale), "--write-counters", counters) as sandbox:
        async with client_of(sandbox, RateLimits(window_scale=scale), store) as client:
            subscription = sandbox.create_subscription()
            until = asyncio.get_running_loop().time() + 60 * scale * windows

            async def create(number: int) -> None:
                count = 0
                while asyncio.get_running_loop().time() < until:
                    count += 1
                    with suppress(WriteFateUnknown):  # a busy machine may delay an answer
                        await create_order_copy(client, draft_for(subscription, f"#{number}.{count}"))

            async def update() -> None:
                while asyncio.get_running_loop().time() < until:
                    await client.update_subscription(subscription["id"], metadata={"a": 1})

            await asyncio.gather(*(create(number) for number in range(10)), *(update() for _ in range(10)))
            sent = client.requests_made["PATCH", "order_subscriptions"] + client.requests_made["POST", "order_copies"]

        # How much of the limit is used depends on the machine's load here. test_rate_limit.py checks it on a virtual
        # clock, and tests/bench measures it. More than a burst got through, so the windows were really needed.
        assert sandbox.counters()["throttled"] == 0
        assert sent > 25


async def test_a_handover_changes_status_and_metadata_in_one_request(sandbox, client):
    later = (DUE + timedelta(days=9)).isoformat()
    made = sandbox.create_subscription(status="active", next_run_at=later, metadata={"crm": 7})
    stopped = await hand_over_subscription(client, made["id"], "deactivate", metadata={"ours": {}})
    assert (stopped.status, stopped.metadata) == (SubscriptionStatus.INACTIVE, {"ours": {}})

    moved = DUE + timedelta(days=20)
    started = await hand_over_subscription(client, made["id"], "activate", metadata={}, next_run_at=moved)
    assert (started.status, started.metadata, started.next_run_at) == (SubscriptionStatus.ACTIVE, {}, moved)
    assert client.requests_made["PATCH", "order_subscriptions"] == 2


async def test_a_handover_that_is_refused_does_not_change_the_metadata(sandbox, client):
    made = sandbox.create_subscription(status="cancelled", metadata={"crm": 7})
    with pytest.raises(Refused):
        await hand_over_subscription(client, made["id"], "activate", metadata={})
    found = (await client.get_subscriptions([made["id"]]))[made["id"]]
    assert found.metadata == {"crm": 7}


async def test_all_subscriptions_of_a_status_are_listed(sandbox, client):
    made = {sandbox.create_subscription(status="draft")["id"] for _ in range(27)}
    pages = [page.readable async for page in iter_with_status(client, SubscriptionStatus.DRAFT)]
    assert made <= {one.id for page in pages for one in page}
    assert len(pages[0]) == 25


async def test_a_tag_is_created_once_added_with_a_handover_and_read_by_its_name(sandbox, client):
    made = sandbox.create_subscription(metadata={})
    for _ in range(2):
        assert await make_sure_of_tag(client, "perennial") is None
    assert client.requests_made["POST", "tags"] == 1

    tagged = await hand_over_subscription(client, made["id"], None, metadata={"ours": {}}, add_tag="perennial")
    assert (tagged.tags, tagged.metadata) == (("perennial",), {"ours": {}})
    assert (await client.get_subscriptions([made["id"]]))[made["id"]].tags == ("perennial",)

    removed = await hand_over_subscription(client, made["id"], None, metadata={}, remove_tag="perennial")
    assert removed.tags == ()


async def test_a_tag_that_cannot_be_created_is_reported_and_an_unknown_one_is_ignored(sandbox, client):
    sandbox.fault("status", method="POST", path="/api/tags", status=403)
    assert "403" in str(await make_sure_of_tag(client, "unheard-of"))
    sandbox.clear_faults()
    made = sandbox.create_subscription(metadata={})
    assert (await hand_over_subscription(client, made["id"], None, metadata={}, add_tag="unheard-of")).tags == ()


async def test_a_placed_order_is_found_by_its_reference_or_by_its_customer(sandbox, client):
    since = sandbox.clock()
    subscription = subscribe(sandbox)
    copy = await completed_copy_for(sandbox, client, subscription)
    own = (await client.get_subscriptions([subscription["id"]]))[subscription["id"]]
    reference, email = "SubSomebody@2026-03-01T06:00Z", own.customer_email
    others = {f"SubNobody{number}@2026-03-01T06:00Z": None for number in range(30)}
    assert await find_placed_orders(client, {reference: email}, since) == [], "it is not placed yet"

    async def tagged() -> Placement:
        return Placement(reference, "perennial", {})

    await place_order(client, copy.target_order_id, tagged)
    before = client.requests_made["GET", "orders"]
    by_reference = await find_placed_orders(client, {reference: None, **others}, since)
    assert client.requests_made["GET", "orders"] - before == 2, "25 references in a call"
    by_customer = await find_placed_orders(client, {"SubNobody@2026-03-01T06:00Z": email}, since)

    assert [order.id for order in by_reference] == [order.id for order in by_customer] == [copy.target_order_id]
    assert by_reference[0].is_placed
    sandbox.advance(60)
    assert await find_placed_orders(client, {reference: email}, sandbox.clock()) == []
    odd = {reference: "odd, but allowed@example.com"}
    assert [order.id for order in await find_placed_orders(client, odd, since)] == [copy.target_order_id]


async def test_the_errors_of_an_order_are_read_with_their_times_oldest_first(sandbox, client):
    copy = await completed_copy_for(sandbox, client, subscribe(sandbox, failure="declined"))
    good = await completed_copy_for(sandbox, client, subscribe(sandbox))
    moments = []
    for _ in range(2):
        with pytest.raises(Refused):
            await place_order(client, copy.target_order_id, placement)
        moments.append(sandbox.clock().replace(microsecond=0))
        sandbox.advance(3600)

    errors = await errors_of_orders(client, [copy.target_order_id, good.target_order_id, "NoSuchOrde"])

    assert errors[good.target_order_id] == []
    assert "NoSuchOrde" not in errors
    told = errors[copy.target_order_id]
    assert [error.created_at.replace(microsecond=0) for error in told] == moments
    assert all("declined" in error.message for error in told)
