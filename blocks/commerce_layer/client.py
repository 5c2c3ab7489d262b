"""The Commerce Layer client: what renewals need from the API.

Requests are scarce, so reads are lists of 25. A write that sets absolute values may be repeated. The two requests that
may charge a customer are in `charging.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Self, TypeVar

from pydantic import SecretStr

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.auth import ExpectedShop, TokenClaims
from blocks.commerce_layer.changes import SubscriptionChange
from blocks.commerce_layer.rate_limit import RateBudget, RateLimits
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.commerce_layer.transport import Timeouts
from blocks.commerce_layer.views import COPIES, COPY_VIEW, ORDER_VIEW, ORDERS, SUBSCRIPTION_VIEW, SUBSCRIPTIONS, WALLET
from blocks.commerce_layer.wire import Compose, Wire

M = TypeVar("M", OrderCopy, OrderSubscription, Order)

BOOKKEEPING_TRIES = 4
"""How many times to send a write that sets absolute values, and so may be repeated."""


class CommerceLayer:
    """
    One organization's API. Use it in `async with`.

    Every method may raise NotConnected, ReadFailed, WriteFateUnknown, an ApiError, AuthenticationFailed or
    WrongShop, as `errors.py` describes. A method that raises others names them.
    """

    def __init__(
        self,
        *,
        api_url: str,
        auth_url: str,
        organization: str,
        client_id: str,
        client_secret: SecretStr,
        mode: Literal["test", "live"],
        budget: RateBudget | None = None,
        timeouts: Timeouts | None = None,
        connections: int = 24,
    ) -> None:
        self._budget = budget or RateBudget(api_url, mode, RateLimits())
        self.wire = Wire(
            api_url=api_url,
            auth_url=auth_url,
            client_id=client_id,
            client_secret=client_secret,
            shop=ExpectedShop(organization, mode),
            budget=self._budget,
            timeouts=timeouts or Timeouts(),
            connections=connections,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wire.close()

    @property
    def requests_made(self) -> Counter[tuple[str, str]]:
        """Requests sent, including repeated and failed ones, by (method, resource), as `("POST", "order_copies")`."""
        return self.wire.requests_made

    @property
    def shop_time(self) -> datetime | None:
        """The shop's time when it last answered (its `Date` header, UTC); None if no answer had one."""
        return self.wire.shop_time

    async def claims(self) -> TokenClaims:
        """The claims of the access token. Fetches a token if there is none. Raises WrongShop."""
        return (await self.wire.tokens.current()).claims

    # --- subscriptions ------------------------------------------------------------------------

    async def iter_due_subscriptions(self, as_of: datetime) -> AsyncIterator[list[OrderSubscription]]:
        """
        The inactive subscriptions whose next run is at or before `as_of`, 25 at a time, by id.

        The caller sees in the metadata which of them are adopted. Pages follow each other by id, so none is
        skipped while subscriptions of earlier pages are renewed.
        """
        filters = {"status_eq": "inactive", "next_run_at_lteq": jsonapi.instant(as_of)}
        async for page in self._pages(SUBSCRIPTIONS, OrderSubscription, filters, SUBSCRIPTION_VIEW):
            yield page

    async def get_subscriptions(self, ids: Iterable[str]) -> dict[str, OrderSubscription]:
        """The subscriptions by id; those that do not exist are absent."""
        return await self._by_id(SUBSCRIPTIONS, OrderSubscription, ids, SUBSCRIPTION_VIEW)

    async def list_subscriptions_of(self, source_order_ids: Iterable[str]) -> list[OrderSubscription]:
        """All subscriptions of these source orders that are not cancelled."""
        found = []
        for ids in jsonapi.pages_of(source_order_ids):
            filters = {"source_order_id_in": ",".join(ids), "status_not_eq": SubscriptionStatus.CANCELLED}
            found += await self._all(SUBSCRIPTIONS, OrderSubscription, filters, SUBSCRIPTION_VIEW)
        return found

    async def update_subscription(
        self, subscription_id: str, *, metadata: Mapping[str, Any] | None = None, next_run_at: datetime | None = None
    ) -> OrderSubscription:
        """Set `metadata` (all of it: the API replaces, it does not merge) and `next_run_at` (future only)."""
        moment = None if next_run_at is None else jsonapi.instant(next_run_at)
        attributes = {"metadata": metadata, "next_run_at": moment}
        body = jsonapi.body_of(SUBSCRIPTIONS, attributes, resource_id=subscription_id)
        return await self._patch(
            SUBSCRIPTIONS, OrderSubscription, subscription_id, body, SUBSCRIPTION_VIEW, tries=BOOKKEEPING_TRIES
        )

    async def record_on_subscription(
        self, subscription_id: str, compose: Callable[[], Awaitable[SubscriptionChange]]
    ) -> OrderSubscription:
        """
        Change what `compose` returns, in one request that is sent once.

        `compose` is called after all waiting for the rate limit, so that what it reads of the subscription is
        still true when the request is sent. If it raises, nothing is sent, and the exception reaches the caller.
        """

        async def body() -> jsonapi.Fields:
            change = await compose()
            moment = None if change.next_run_at is None else jsonapi.instant(change.next_run_at)
            attributes = {"metadata": change.metadata, "next_run_at": moment, "_cancel": change.cancel or None}
            attributes["_add_tags"] = change.add_tag
            card = change.payment_source_id
            related = None if card is None else {"customer_payment_source": (WALLET, card)}
            return jsonapi.body_of(SUBSCRIPTIONS, attributes, resource_id=subscription_id, related=related)

        return await self.wire.write(
            "PATCH",
            "write",
            SUBSCRIPTIONS,
            reader(OrderSubscription),
            resource_id=subscription_id,
            body=body,
            params=SUBSCRIPTION_VIEW,
        )

    # --- order copies -------------------------------------------------------------------------

    async def room_for_creation(self, ahead: int) -> float:
        """Seconds until the rate limits may allow one more creation, after `ahead` others; 0 if they allow it now."""
        return await self._budget.room("create", COPIES, ahead)

    async def room_for_placement(self, ahead: int) -> float:
        """Seconds until the rate limits may allow one more placement, after `ahead` others; 0 if they allow it now."""
        return await self._budget.room("write", ORDERS, ahead)

    async def room_for_a_look(self) -> float:
        """Seconds until the rate limits may allow a list of subscriptions and one of order copies; 0 if now."""
        return max(await self._budget.room("read", SUBSCRIPTIONS), await self._budget.room("read", COPIES))

    async def find_order_copies(
        self, references: Iterable[str], *, reference_origin: str = "perennial"
    ) -> dict[str, list[OrderCopy]]:
        """All copies by reference, oldest id first; a reference without a copy has an empty list."""
        found: dict[str, list[OrderCopy]] = {reference: [] for reference in references}
        for filters in jsonapi.reference_filters(found):
            filters |= {"reference_origin_eq": reference_origin}
            for copy in await self._all(COPIES, OrderCopy, filters, COPY_VIEW):
                if copy.reference in found:
                    found[copy.reference].append(copy)
        return found

    async def list_order_copies_of(
        self, source_order_ids: Iterable[str], created_since: datetime, *, without: Iterable[str] = ()
    ) -> list[OrderCopy]:
        """All copies of the source orders made at or after `created_since`, except those with an id in `without`."""
        known = {"id_not_in": ",".join(without)} if without else {}
        found = []
        for ids in jsonapi.pages_of(source_order_ids):
            filters = {"source_order_id_in": ",".join(ids), "created_at_gteq": jsonapi.instant(created_since), **known}
            found += await self._all(COPIES, OrderCopy, filters, COPY_VIEW)
        return found

    async def get_order_copies(self, ids: Iterable[str]) -> dict[str, OrderCopy]:
        """The copies by id, with their target orders; those that do not exist are absent."""
        return await self._by_id(COPIES, OrderCopy, ids, COPY_VIEW)

    # --- orders -------------------------------------------------------------------------------

    async def get_orders(self, ids: Iterable[str]) -> dict[str, Order]:
        """The orders by id; those that do not exist are absent."""
        return await self._by_id(ORDERS, Order, ids, ORDER_VIEW)

    async def get_order(self, order_id: str) -> Order:
        """One order. Raises NotFound."""
        return await self.wire.read(ORDERS, reader(Order), resource_id=order_id, params=ORDER_VIEW)

    async def use_payment_source(self, order_id: str, payment_source_id: str) -> Order:
        """Set another payment source of the wallet on an unplaced order. It charges nothing, and may be repeated."""
        body = jsonapi.body_of(ORDERS, {"_customer_payment_source_id": payment_source_id}, resource_id=order_id)
        return await self._patch(ORDERS, Order, order_id, body, ORDER_VIEW, tries=BOOKKEEPING_TRIES)

    async def cancel_order(self, order_id: str, compose: Callable[[], Awaitable[Mapping[str, Any]]]) -> Order:
        """
        Cancel an order and set all of its metadata to what `compose` returns. A cancelled order cannot be placed.

        `compose` is called for each try, after all waiting for the rate limit, so that it can check that the order may
        still be cancelled. If it raises, nothing is sent, and the exception reaches the caller.
        """

        async def body() -> jsonapi.Fields:
            attributes = {"_cancel": True, "metadata": await compose()}
            return jsonapi.body_of(ORDERS, attributes, resource_id=order_id)

        return await self._patch(ORDERS, Order, order_id, body, ORDER_VIEW, tries=BOOKKEEPING_TRIES)

    # --- what all of them use -----------------------------------------------------------------

    async def _patch(
        self,
        endpoint: str,
        model: type[M],
        resource_id: str,
        body: jsonapi.Fields | Compose,
        view: Mapping[str, str],
        *,
        tries: int,
    ) -> M:
        return await self.wire.write(
            "PATCH",
            "write",
            endpoint,
            reader(model),
            resource_id=resource_id,
            body=body,
            params=view,
            tries=tries,
        )

    async def _by_id(self, endpoint: str, model: type[M], ids: Iterable[str], view: Mapping[str, str]) -> dict[str, M]:
        found: dict[str, M] = {}
        for some in jsonapi.pages_of(ids):
            found |= {item.id: item for item in await self._all(endpoint, model, {"id_in": ",".join(some)}, view)}
        return found

    async def _all(self, endpoint: str, model: type[M], filters: Mapping[str, str], view: Mapping[str, str]) -> list[M]:
        return [item async for page in self._pages(endpoint, model, filters, view) for item in page]

    async def _pages(
        self, endpoint: str, model: type[M], filters: Mapping[str, str], view: Mapping[str, str]
    ) -> AsyncIterator[list[M]]:
        """All resources that match the filters, by id. Page numbers would skip some when a resource stops matching."""
        after: dict[str, str] = {}
        while True:
            params = {**view, **jsonapi.query(filters={**filters, **after}, sort="id", page_size=jsonapi.PAGE_SIZE)}
            items, last = await self.wire.read(endpoint, _pagereader(model), params=params)
            if items:
                yield items
            if last or not items:
                return
            after = {"id_gt": items[-1].id}


def reader(model: type[M]) -> Callable[[jsonapi.Fields], M]:
    """A function that reads a document with one resource."""
    return lambda document: model.model_validate(jsonapi.one(document))


def _pagereader(model: type[M]) -> Callable[[jsonapi.Fields], tuple[list[M], bool]]:
    return lambda document: (
        [model.model_validate(item) for item in jsonapi.many(document)],
        jsonapi.is_last_page(document),
    )
