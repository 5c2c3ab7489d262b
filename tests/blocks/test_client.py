"""What the client sends, and what it does with each possible answer."""

from __future__ import annotations

import asyncio
import traceback

import pytest
from client_requests import (
    AMBIGUOUS,
    AS_OF,
    COPIES,
    DRAFT,
    ORDER_ANSWER,
    PLACE,
    REFERENCE,
    SUBSCRIPTION,
    SUBSCRIPTION_ANSWER,
    placement,
    reason,
)
from odd_shop import (
    answer,
    client_of,
    copy_document,
    page,
    refusal,
    reset,
    resource,
    silence,
    throttled,
)

from blocks.commerce_layer.changes import SubscriptionChange
from blocks.commerce_layer.charging import create_order_copy, place_order
from blocks.commerce_layer.errors import (
    NotConnected,
    NotFound,
    ReadFailed,
    Refused,
    Throttled,
    Unauthorized,
    WriteFateUnknown,
)
from blocks.commerce_layer.wallets import wallet_of


async def test_a_copy_is_created_with_the_documented_request(shop, client):
    shop.on(*COPIES, answer(201, copy_document("copyCopyCo", reference=REFERENCE)))

    copy = await create_order_copy(client, DRAFT)

    (sent,) = shop.requests(*COPIES)
    assert (copy.id, copy.source_order_id, copy.reference) == ("copyCopyCo", "srcSrcSrcS", REFERENCE)
    assert "application/vnd.api+json" == sent.headers["content-type"] == sent.headers["accept"]
    assert sent.body == {
        "data": {
            "type": "order_copies",
            "attributes": {
                "reference": REFERENCE,
                "reference_origin": "perennial",
                "metadata": {"perennial": {"attempt": 1}},
                "place_target_order": False,
                "reuse_wallet": True,
                "apply_promotions": False,
                "ignore_invalid_coupon": False,
                "skip_errors": False,
            },
            "relationships": {"source_order": {"data": {"type": "orders", "id": "srcSrcSrcS"}}},
        }
    }


async def test_requests_name_perennial_as_their_user_agent(shop, client):
    await client.claims()

    assert shop.seen[0].headers["user-agent"].startswith("perennial/")


@pytest.mark.parametrize("trouble", AMBIGUOUS)
async def test_a_creation_without_a_usable_answer_is_sent_once_and_its_fate_is_unknown(shop, client, trouble):
    shop.on(*COPIES, trouble)

    with pytest.raises(WriteFateUnknown) as caught:
        await create_order_copy(client, DRAFT)

    assert caught.value.reference == REFERENCE
    assert 1 == len(shop.requests(*COPIES)) == client.requests_made["POST", "order_copies"]


@pytest.mark.parametrize("trouble", AMBIGUOUS)
async def test_a_placement_without_a_usable_answer_is_sent_once(shop, client, trouble):
    shop.on(*PLACE, trouble)

    with pytest.raises(WriteFateUnknown):
        await place_order(client, "ordrOrdrOr", placement)

    assert len(shop.requests(*PLACE)) == 1


@pytest.mark.parametrize("trouble", AMBIGUOUS)
async def test_an_update_of_a_subscription_without_a_usable_answer_is_repeated(shop, client, trouble):
    shop.on(*SUBSCRIPTION, trouble, SUBSCRIPTION_ANSWER)

    await client.update_subscription("subSubSubS", metadata={"a": 1})

    assert len(shop.requests(*SUBSCRIPTION)) == 2


@pytest.mark.parametrize("trouble", AMBIGUOUS)
async def test_the_cancellation_of_an_order_without_a_usable_answer_is_repeated(shop, client, trouble):
    shop.on(*PLACE, trouble, answer(200, {"data": resource("orders", "ordrOrdrOr", status="cancelled")}))

    cancelled = await client.cancel_order("ordrOrdrOr", reason("postponed"))

    assert cancelled.status == "cancelled"
    sent = [seen.body["data"]["attributes"] for seen in shop.requests(*PLACE)]
    assert sent == [{"_cancel": True, "metadata": {"perennial": {"withdrawn": "postponed"}}}] * 2


@pytest.mark.parametrize("trouble", AMBIGUOUS)
async def test_a_read_without_a_usable_answer_is_repeated(shop, client, trouble):
    shop.on("GET", "/api/orders/ordrOrdrOr", trouble, ORDER_ANSWER)

    assert (await client.get_order("ordrOrdrOr")).number == "12"


async def test_a_read_is_tried_four_times_with_growing_pauses(shop, clock, client):
    shop.on("GET", "/api/orders/ordrOrdrOr", answer(503, b""))

    with pytest.raises(ReadFailed, match="in 4 tries: answered 503"):
        await client.get_order("ordrOrdrOr")

    assert len(shop.requests("GET", "/api/orders/ordrOrdrOr")) == 4
    assert [0.5 <= clock.slept[0] <= 0.75, 1 <= clock.slept[1] <= 1.5, 2 <= clock.slept[2] <= 3] == [True] * 3


async def test_the_fate_of_an_update_that_never_gets_a_usable_answer_is_unknown(shop, client):
    shop.on(*SUBSCRIPTION, answer(503, b""))

    with pytest.raises(WriteFateUnknown):
        await client.update_subscription("subSubSubS", metadata={})

    assert len(shop.requests(*SUBSCRIPTION)) == 4


async def test_a_write_to_a_shop_that_cannot_be_reached_is_known_not_to_be_sent(shop, client):
    await client.claims()
    shop.stop()

    with pytest.raises(NotConnected):
        await create_order_copy(client, DRAFT)
    with pytest.raises(ReadFailed):
        await client.get_order("ordrOrdrOr")
    with pytest.raises(NotConnected):
        await client.update_subscription("subSubSubS", metadata={})


@pytest.mark.parametrize(("status", "kind"), [(422, Refused), (404, NotFound), (401, Unauthorized), (423, Refused)])
async def test_a_refusal_is_not_repeated(shop, client, status, kind):
    shop.on(*COPIES, refusal(status, "SOME_CODE", "is not so", "/data/attributes/x"))

    with pytest.raises(kind) as caught:
        await create_order_copy(client, DRAFT)

    assert (
        caught.value.code,
        caught.value.detail,
        caught.value.pointer,
    ) == ("SOME_CODE", "is not so", "/data/attributes/x")
    assert len(shop.requests(*COPIES)) == 1


async def test_a_throttled_creation_waits_for_the_window_whatever_retry_after_says(shop, clock, client):
    shop.on(*COPIES, throttled(), answer(201, copy_document()))
    await client.claims()
    started = clock.monotonic()

    await create_order_copy(client, DRAFT)

    assert 60 <= clock.monotonic() - started < 62
    assert len(shop.requests(*COPIES)) == 2


async def test_a_request_over_the_burst_limit_waits_for_the_short_window(shop, clock, client):
    shop.on(*COPIES, throttled(remaining=40), answer(201, copy_document()))
    started = clock.monotonic()

    await create_order_copy(client, DRAFT)

    assert 10 <= clock.monotonic() - started < 12


async def test_a_request_that_stays_throttled_is_reported(shop, clock, client):
    shop.on("GET", "/api/orders/ordrOrdrOr", throttled())

    with pytest.raises(Throttled):
        await client.get_order("ordrOrdrOr")

    assert len(shop.requests("GET", "/api/orders/ordrOrdrOr")) == 5


async def a_cancellation() -> SubscriptionChange:
    return SubscriptionChange({"a": 1}, cancel=True)


async def test_a_change_is_composed_anew_each_time_it_is_sent(shop, client):
    shop.on(*SUBSCRIPTION, throttled(), SUBSCRIPTION_ANSWER)
    composed = []

    async def compose() -> SubscriptionChange:
        composed.append(len(shop.seen))
        return SubscriptionChange({"turn": len(composed)})

    await client.record_on_subscription("subSubSubS", compose)

    sent = [seen.body["data"]["attributes"] for seen in shop.seen if seen.method == "PATCH"]
    assert sent == [{"metadata": {"turn": 1}}, {"metadata": {"turn": 2}}]
    assert composed[1] == composed[0] + 1, "after the first request was answered"


async def test_an_error_while_composing_a_change_is_raised_and_nothing_is_sent(shop, client):
    async def compose() -> SubscriptionChange:
        raise LookupError("nothing to write")

    with pytest.raises(LookupError, match="nothing to write"):
        await client.record_on_subscription("subSubSubS", compose)
    assert [seen.method for seen in shop.seen if seen.method == "PATCH"] == []


async def test_updates_send_what_was_given_and_nothing_else(shop, client):
    shop.on(*SUBSCRIPTION, SUBSCRIPTION_ANSWER)
    shop.on(*PLACE, ORDER_ANSWER)

    await client.update_subscription("subSubSubS", next_run_at=AS_OF)
    await client.record_on_subscription("subSubSubS", a_cancellation)
    await client.use_payment_source("ordrOrdrOr", "cardCardCa")
    await client.cancel_order("ordrOrdrOr", reason("surplus"))

    bodies = [seen.body["data"] for seen in shop.seen if seen.method == "PATCH"]
    assert [body["attributes"] for body in bodies] == [
        {"next_run_at": "2026-03-01T06:00:00.000Z"},
        {"metadata": {"a": 1}, "_cancel": True},
        {"_customer_payment_source_id": "cardCardCa"},
        {"_cancel": True, "metadata": {"perennial": {"withdrawn": "surplus"}}},
    ]
    assert [body["id"] for body in bodies] == ["subSubSubS", "subSubSubS", *["ordrOrdrOr"] * 2]


async def test_the_card_of_a_subscription_is_changed_in_the_same_request(shop, client):
    shop.on(*SUBSCRIPTION, SUBSCRIPTION_ANSWER)

    async def another_card() -> SubscriptionChange:
        return SubscriptionChange({"a": 1}, AS_OF, payment_source_id="cardCardCa")

    await client.record_on_subscription("subSubSubS", another_card)

    (body,) = [seen.body["data"] for seen in shop.seen if seen.method == "PATCH"]
    assert body["attributes"] == {"metadata": {"a": 1}, "next_run_at": "2026-03-01T06:00:00.000Z"}
    assert body["relationships"] == {
        "customer_payment_source": {"data": {"type": "customer_payment_sources", "id": "cardCardCa"}}
    }


async def test_the_cards_of_a_wallet_and_of_an_order_are_read_even_if_fields_are_missing(shop, client):
    link = {"type": "stripe_payments", "id": "payPayPayP"}
    card = resource("customer_payment_sources", "cardCardCa", payment_source_token="pm_1", created_at=[])
    card["relationships"] = {"payment_source": {"data": link}}
    bare = resource("customer_payment_sources", "cardBareBa", payment_source_token=7)
    order = resource("orders", "ordrOrdrOr", status="pending", payment_source_details={"payment_method_id": "pm_1"})
    order["relationships"] = {"payment_source": {"data": link}}
    shop.on("GET", "/api/customer_payment_sources", answer(200, page(card, bare)))
    shop.on("GET", "/api/orders/ordrOrdrOr", answer(200, {"data": order}))

    wallet, read = await wallet_of(client, "a@example.com"), await client.get_order("ordrOrdrOr")

    assert [(each.payment_source_token, each.payment_source_id) for each in wallet] == [
        ("pm_1", "payPayPayP"),
        (None, None),
    ]
    assert (read.payment_source_id, read.payment_source_details) == ("payPayPayP", {"payment_method_id": "pm_1"})
    (asked,) = shop.requests("GET", "/api/customer_payment_sources")
    assert asked.query["filter[q][customer_email_eq]"] == "a@example.com"


async def test_an_id_is_escaped_in_the_path(shop, client):
    with pytest.raises(NotFound):
        await client.get_order("../order_copies?x=1")

    assert shop.seen[-1].path == "/api/orders/..%2Forder_copies%3Fx%3D1"


async def test_requests_are_counted_by_method_and_resource(shop, client):
    shop.on("GET", "/api/orders/ordrOrdrOr", answer(503, b""), ORDER_ANSWER)

    await client.get_order("ordrOrdrOr")

    assert client.requests_made == {("POST", "oauth/token"): 1, ("GET", "orders"): 2}


async def test_connections_are_reused_and_bounded(shop, clock):
    shop.on("GET", "/api/orders/ordrOrdrOr", ORDER_ANSWER)

    async with client_of(shop, connections=3) as client:
        await asyncio.gather(*(client.get_order("ordrOrdrOr") for _ in range(20)))

    assert len(shop.requests("GET", "/api/orders/ordrOrdrOr")) == 20
    assert shop.connections <= 4


@pytest.mark.parametrize("trouble", [reset, silence, answer(500, b"")])
async def test_an_error_does_not_contain_the_request(shop, client, trouble):
    shop.on(*COPIES, trouble)

    with pytest.raises(WriteFateUnknown) as caught:
        await create_order_copy(client, DRAFT)

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    report = "".join(traceback.format_exception(caught.value))
    assert "Bearer" not in report
    assert "srcSrcSrcS" not in report


async def test_the_shops_time_is_read_from_the_date_header(shop, client):
    assert client.shop_time is None
    shop.on(
        "GET",
        "/api/orders/ordrOrdrOr",
        answer(200, {"data": resource("orders", "a")}, Date="Sun, 01 Mar 2026 06:00:00 GMT"),
        answer(200, {"data": resource("orders", "a")}),
        answer(200, {"data": resource("orders", "a")}, Date="yesterday"),
        answer(200, {"data": resource("orders", "a")}, Date="Sun, 01 Mar 2026 07:00:00 -0000"),
    )

    for _ in range(4):
        await client.get_order("ordrOrdrOr")
        assert client.shop_time == AS_OF
