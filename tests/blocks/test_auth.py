"""Access tokens: shared by all requests, renewed ahead of time, and only for the right organization."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest
from odd_shop import SECRET, answer, client_of, copy_document, hang_up, jwt, refusal, reset, throttled, token_answer

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import Placement, create_order_copy, place_order
from blocks.commerce_layer.errors import AuthenticationFailed, InvalidToken, NotConnected, WrongShop

TOKEN = ("POST", "/oauth/token")
ORDER = ("GET", "/api/orders/ordrOrdrOr")
ORDER_ANSWER = answer(200, {"data": {"id": "ordrOrdrOr", "type": "orders", "attributes": {"status": "placed"}}})
INVALID = refusal(401, "INVALID_TOKEN", "The access token you provided is invalid.")


async def test_a_token_is_requested_with_the_client_credentials(shop, client):
    await client.claims()

    (request,) = shop.requests(*TOKEN)
    assert request.body == {"grant_type": "client_credentials", "client_id": "client-id", "client_secret": SECRET}
    assert request.headers["content-type"] == "application/json"


async def test_the_claims_name_organization_and_mode(client):
    claims = await client.claims()

    assert (
        claims.organization_slug,
        claims.organization_id,
        claims.mode,
        claims.application_kind,
    ) == ("acme", "orgOrgOrgO", "test", "integration")


async def test_fifty_requests_fetch_one_token(shop, client):
    shop.on(*ORDER, ORDER_ANSWER)

    await asyncio.gather(*(client.get_order("ordrOrdrOr") for _ in range(50)))

    assert len(shop.requests(*TOKEN)) == 1


async def test_fifty_waiting_callers_share_one_failure(shop, clock, client):
    shop.on(*TOKEN, answer(401, {"errors": [{"title": "invalid_client", "code": "UNAUTHORIZED", "status": 401}]}))

    results = await asyncio.gather(*(client.claims() for _ in range(50)), return_exceptions=True)

    assert {AuthenticationFailed} == {type(result) for result in results}
    assert len(shop.requests(*TOKEN)) == 1


async def test_an_expired_token_is_renewed_once_for_all_waiting_requests(shop, client):
    await client.claims()
    shop.on(*ORDER, *[INVALID] * 50, ORDER_ANSWER)

    await asyncio.gather(*(client.get_order("ordrOrdrOr") for _ in range(50)))

    used = {seen.headers["authorization"] for seen in shop.requests(*ORDER)}
    assert 2 == len(shop.requests(*TOKEN)) == len(used)


async def test_a_token_that_stays_refused_is_reported_after_one_renewal(shop, client):
    shop.on(*ORDER, INVALID)

    with pytest.raises(InvalidToken):
        await client.get_order("ordrOrdrOr")

    assert len(shop.requests(*ORDER)) == 2


async def test_a_creation_whose_token_was_refused_is_sent_again_with_the_new_one(shop, client):
    shop.on("POST", "/api/order_copies", INVALID, answer(201, copy_document()))

    await create_order_copy(client, OrderCopyDraft(source_order_id="a", reference="r"))

    first, second = shop.requests("POST", "/api/order_copies")
    assert first.headers["authorization"] != second.headers["authorization"]
    assert first.body == second.body


async def test_a_placement_whose_token_was_refused_is_composed_anew(shop, client):
    shop.on("PATCH", "/api/orders/ordrOrdrOr", INVALID, ORDER_ANSWER)
    composed = []

    async def compose() -> Placement:
        composed.append(len(shop.requests("PATCH", "/api/orders/ordrOrdrOr")))
        return Placement("r", "perennial", {})

    await place_order(client, "ordrOrdrOr", compose)

    assert composed == [0, 1]


@pytest.mark.parametrize(
    ("expires_in", "used_for"),
    [
        pytest.param(7200, 6300, id="until the endpoint gives the next one, 15 minutes early"),
        pytest.param(901, 1, id="handed back shortly before that"),
        pytest.param(900, 840, id="handed back inside the overlap: to its last minute"),
        pytest.param(100, 50, id="nearly over: half of what is left"),
    ],
)
async def test_how_long_a_token_is_used_depends_on_its_remaining_lifetime(shop, clock, client, expires_in, used_for):
    shop.on(*TOKEN, token_answer(jwt(), expires_in))
    await client.claims()

    clock.advance(used_for - 0.5)
    await client.claims()
    assert len(shop.requests(*TOKEN)) == 1

    clock.advance(1)
    await client.claims()
    assert len(shop.requests(*TOKEN)) == 2


async def test_without_expires_in_the_exp_claim_decides_how_long_a_token_is_used(shop, clock, client):
    exp = clock.now().timestamp() + 7200
    shop.on(*TOKEN, answer(200, {"access_token": jwt(exp=exp)}))
    await client.claims()

    clock.advance(6301)
    await client.claims()

    assert len(shop.requests(*TOKEN)) == 2


async def test_a_valid_token_stays_in_use_while_the_token_endpoint_is_down(shop, clock, client):
    shop.on(*TOKEN, token_answer(jwt(), 7200), answer(503, b"<html>"))
    await client.claims()

    clock.advance(6400)

    assert (await client.claims()).organization_slug == "acme"


async def test_an_expired_token_is_not_used_even_if_the_token_endpoint_is_down(shop, clock, client):
    shop.on(*TOKEN, token_answer(jwt(), 7200), answer(503, b"<html>"))
    await client.claims()

    clock.advance(7201)

    with pytest.raises(NotConnected):
        await client.claims()


@pytest.mark.parametrize("trouble", [answer(500, b"oops"), hang_up, reset, throttled()])
async def test_a_token_request_that_fails_is_repeated(shop, client, trouble):
    shop.on(*TOKEN, trouble, token_answer(jwt()))

    assert (await client.claims()).organization_slug == "acme"


@pytest.mark.parametrize(
    ("token", "field", "words"),
    [(jwt(slug="other"), "organization", "'other', but 'acme'"), (jwt(test=False), "mode", "'live', but 'test'")],
)
async def test_a_token_of_another_shop_is_not_used(shop, client, token, field, words):
    shop.on(*TOKEN, token_answer(token))

    with pytest.raises(WrongShop, match=words) as caught:
        await client.get_order("ordrOrdrOr")

    assert field == caught.value.field
    assert [(seen.method, seen.path) for seen in shop.seen] == [TOKEN]


async def test_a_renewed_token_of_another_shop_is_not_used_either(shop, client):
    shop.on(*TOKEN, token_answer(jwt()), token_answer(jwt(test=False, nonce=1)))
    shop.on(*ORDER, INVALID)

    with pytest.raises(WrongShop):
        await client.get_order("ordrOrdrOr")

    assert len(shop.requests(*ORDER)) == 1


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.e30.c", "a.bnVsbA.c", "ä.ä.ä", ".."])
async def test_a_token_that_is_not_a_jwt_is_an_error_that_names_auth_url(shop, client, token):
    shop.on(*TOKEN, token_answer(token))

    with pytest.raises(AuthenticationFailed, match="`auth_url`"):
        await client.claims()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"token_type": "bearer"}'])
async def test_an_answer_without_a_token_is_an_error_that_names_auth_url(shop, client, body):
    shop.on(*TOKEN, answer(200, body))

    with pytest.raises(AuthenticationFailed, match="`auth_url`"):
        await client.claims()


async def test_refused_credentials_name_the_fields_to_check(shop, client):
    shop.on(*TOKEN, answer(401, {"errors": [{"title": "invalid_client", "code": "UNAUTHORIZED", "status": 401}]}))

    with pytest.raises(AuthenticationFailed, match="`client_id` and `client_secret`") as caught:
        await client.claims()

    assert caught.value.status == 401


@pytest.mark.parametrize(
    "trouble",
    [answer(401, {"errors": []}), answer(500, b"oops"), hang_up, reset, token_answer("opaque"), answer(200, b"<")],
)
async def test_no_error_and_no_log_line_carries_the_secret_or_the_token(shop, clock, caplog, trouble):
    caplog.set_level(logging.DEBUG)
    shop.on(*TOKEN, trouble)

    async with client_of(shop) as client:
        with pytest.raises((AuthenticationFailed, NotConnected)) as caught:
            await client.claims()

    report = "".join(traceback.TracebackException.from_exception(caught.value).format())
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert not [link for link in chain[1:] if hasattr(link, "request")]
    for text in (report, repr(chain), caplog.text, repr(client), repr(vars(client))):
        assert SECRET not in text
        assert "opaque" not in text


async def test_cancelling_one_caller_leaves_the_token_to_the_others(shop, client):
    first = asyncio.create_task(client.claims())
    second = asyncio.create_task(client.claims())
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).organization_slug == "acme"
