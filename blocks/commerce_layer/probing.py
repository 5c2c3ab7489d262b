"""
What only `perennial probe` sends. It copies and places orders in the test environment, and nowhere else.

An import contract in `pyproject.toml` names the modules that may use it. All that it creates has the probe's reference
and the origin `perennial-probe`, by which it is found again after a lost answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.changes import OrderCopyDraft, SubscriptionChange
from blocks.commerce_layer.charging import Placement, create_order_copy, place_order
from blocks.commerce_layer.client import CommerceLayer, M, reader
from blocks.commerce_layer.rate_limit import Answer
from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.views import (
    COPIES,
    COPY_VIEW,
    ORDER_VIEW,
    ORDERS,
    SUBSCRIPTION_VIEW,
    SUBSCRIPTIONS,
    WALLET,
    WALLET_VIEW,
)

ORIGIN = "perennial-probe"
"""`reference_origin` of all that a probe makes."""

TAGS = "tags"


class NotTheTestEnvironment(RuntimeError):  # noqa: N818 - the name says what happened
    """The credentials open a live environment, or do not say which one they open. Nothing was sent that charges."""


@dataclass(frozen=True, slots=True)
class Template:
    """The order that the merchant offers for copying, and its customer."""

    order: Order
    customer_id: str | None


class ProbedShop:
    """The test environment of one organization. Methods raise as those of `CommerceLayer` do."""

    def __init__(self, client: CommerceLayer, run: str) -> None:
        self.client, self._run = client, run
        self.organization: jsonapi.Fields = {}
        """The document of the last read of the organization."""

    @property
    def labels(self) -> dict[str, Any]:
        """The attributes that all resources of this probe have."""
        return {"reference": self._run, "reference_origin": ORIGIN, "metadata": {"perennial_probe": self._run}}

    async def require_test(self) -> None:
        """Raise NotTheTestEnvironment unless both the token and the organization say that this is a test."""
        claims = await self.client.claims()
        self.organization = await self.client.wire.read("organization", lambda document: document)
        says = {"the token": claims.mode, "the organization": jsonapi.one(self.organization)["mode"]}
        for who, mode in says.items():
            if mode != "test":
                said = "does not say which environment it is" if mode is None else f"belongs to the {mode} environment"
                raise NotTheTestEnvironment(f"the probe places orders in the test environment only, but {who} {said}")

    # --- what may charge: each looks at the environment right before it is sent -----------------

    async def copy(self, source_order_id: str, **options: bool) -> OrderCopy:
        """Create a copy whose order stays unplaced."""
        await self.require_test()
        return await create_order_copy(
            self.client, OrderCopyDraft(source_order_id=source_order_id, **self.labels, **options)
        )

    async def copy_that_fails(self, source_order_id: str) -> OrderCopy:
        """Create a copy that places its order itself, without anything to pay with, so that it should fail."""
        await self.require_test()
        attributes = {**self.labels, "place_target_order": True, "reuse_wallet": False}
        return await self._create(COPIES, OrderCopy, attributes, {"source_order": (ORDERS, source_order_id)}, COPY_VIEW)

    async def place(self, order_id: str, metadata: Mapping[str, Any]) -> Order:
        """Place an order, and set its metadata with the same request."""

        async def compose() -> Placement:
            await self.require_test()
            return Placement(self._run, ORIGIN, metadata)

        return await place_order(self.client, order_id, compose)

    async def subscribe(
        self, source_order_id: str, *, is_run: bool, starts_at: datetime | None = None, **attributes: Any
    ) -> OrderSubscription:
        """
        Create a subscription. If `is_run`, Commerce Layer's engine runs it at its dates; else it stays a draft.
        """
        await self.require_test()
        begin = None if starts_at is None else jsonapi.instant(starts_at)
        given = {**self.labels, "frequency": "monthly", "activate_by_source_order": is_run, "starts_at": begin}
        related = {"source_order": (ORDERS, source_order_id)}
        return await self._create(SUBSCRIPTIONS, OrderSubscription, {**given, **attributes}, related, SUBSCRIPTION_VIEW)

    async def run_subscription(self, subscription_id: str, at: datetime) -> OrderSubscription:
        """Move the next run to an instant in the future: Commerce Layer's engine then copies the source order."""
        await self.require_test()
        return await self.client.update_subscription(subscription_id, next_run_at=at)

    async def activate(self, subscription_id: str) -> OrderSubscription:
        """Let Commerce Layer's engine run a subscription at its dates."""
        await self.require_test()
        body = jsonapi.body_of(SUBSCRIPTIONS, {"_activate": True}, resource_id=subscription_id)
        understand = reader(OrderSubscription)
        return await self.client.wire.write(
            "PATCH",
            "write",
            SUBSCRIPTIONS,
            understand,
            resource_id=subscription_id,
            body=body,
            params=SUBSCRIPTION_VIEW,
        )

    # --- what charges nothing -----------------------------------------------------------------

    async def template(self, order_id: str) -> Template:
        """An order with its customer. Raises NotFound."""
        params = {**ORDER_VIEW, "include": "payment_source,customer"}
        params[f"fields[{ORDERS}]"] += ",customer"
        fields = await self.client.wire.read(ORDERS, jsonapi.one, resource_id=order_id, params=params)
        return Template(Order.model_validate(fields), fields.get("customer_id"))

    async def add_card(self, customer_id: str) -> CustomerPaymentSource:
        """Add a card to a wallet, as far as the API lets an integration do so."""
        related = {"customer": ("customers", customer_id)}
        body = jsonapi.body_of(WALLET, self.labels, related=related)
        return await self.client.wire.write(
            "POST", "write", WALLET, _card, body=body, params=WALLET_VIEW, reference=self._run
        )

    async def give_card(self, subscription_id: str, payment_source_id: str) -> OrderSubscription:
        """Set the card of a subscription."""

        async def change() -> SubscriptionChange:
            return SubscriptionChange(payment_source_id=payment_source_id)

        return await self.client.record_on_subscription(subscription_id, change)

    async def change_nothing(self, subscription_id: str) -> None:
        """Send a PATCH without any change, as a sweep does before it charges anybody."""

        async def change() -> SubscriptionChange:
            return SubscriptionChange()

        await self.client.record_on_subscription(subscription_id, change)

    async def copy_now(self, copy_id: str) -> OrderCopy:
        """One copy with its orders, read by its id. Raises NotFound."""
        return await self.client.wire.read(COPIES, reader(OrderCopy), resource_id=copy_id, params=COPY_VIEW)

    async def subscription_now(self, subscription_id: str) -> OrderSubscription:
        """One subscription, read by its id. Raises NotFound."""
        return await self.client.wire.read(
            SUBSCRIPTIONS, reader(OrderSubscription), resource_id=subscription_id, params=SUBSCRIPTION_VIEW
        )

    async def is_listed(self, copy_id: str) -> bool:
        """Whether the list of this probe's copies shows a copy."""
        found = await self.client.find_order_copies([self._run], reference_origin=ORIGIN)
        return any(copy.id == copy_id for copy in found[self._run])

    async def orders_of_runs(self, subscription_id: str) -> list[Order]:
        """The orders that Commerce Layer's engine has made for a subscription."""
        filters = {"order_subscription_id_eq": subscription_id}
        params = {**ORDER_VIEW, **jsonapi.query(filters=filters, page_size=jsonapi.PAGE_SIZE)}
        return await self.client.wire.read(ORDERS, _orders, params=params)

    async def count_charges(self, order_id: str) -> int:
        """How many authorizations of an order succeeded; of one that shows none, how many captures."""
        params = jsonapi.query(include=("authorizations", "captures"))
        document = await self.client.wire.read(ORDERS, lambda found: found, resource_id=order_id, params=params)
        made = [
            sum(each.get("succeeded") is True for each in jsonapi.included(document, kind))
            for kind in ("authorizations", "captures")
        ]
        return made[0] or made[1]

    async def counted_writes(self, changes: int) -> tuple[Answer | None, int]:
        """
        Create a tag, change it some times, and delete it. Returns what the answer to the deletion said about the rate
        limit, and how many writes were made for it.
        """
        wire = self.client.wire
        body = jsonapi.body_of(TAGS, {**self.labels, "name": self._run})
        tag = str((await wire.write("POST", "write", TAGS, jsonapi.one, body=body, reference=self._run))["id"])
        try:
            for number in range(changes):
                body = jsonapi.body_of(TAGS, {"metadata": {"changes": number}}, resource_id=tag)
                await wire.write("PATCH", "write", TAGS, jsonapi.one, resource_id=tag, body=body)
        finally:
            await wire.delete(TAGS, tag)
        return wire.last_answers.get("DELETE"), changes + 2

    # --- what is left at the end ----------------------------------------------------------------

    async def made(self, endpoint: str) -> list[str]:
        """The ids of this probe's resources of one type, as a list shows them."""
        filters = {"reference_eq": self._run, "reference_origin_eq": ORIGIN}
        return await self._ids(endpoint, filters)

    async def copies_of(self, source_order_id: str) -> list[str]:
        """The ids of all copies of an order, also of those that Commerce Layer's engine has made."""
        return await self._ids(COPIES, {"source_order_id_eq": source_order_id})

    async def cancel(self, order: Order) -> Order:
        """Cancel an order."""

        async def metadata() -> Mapping[str, Any]:
            return {**order.metadata, **self.labels["metadata"]}

        return await self.client.cancel_order(order.id, metadata)

    async def refund(self, order_id: str) -> None:
        """Refund a paid order."""
        body = jsonapi.body_of(ORDERS, {"_refund": True}, resource_id=order_id)
        await self.client.wire.write("PATCH", "write", ORDERS, jsonapi.one, resource_id=order_id, body=body)

    async def stop_subscription(self, subscription_id: str) -> None:
        """Cancel a subscription, so that no engine runs it any more."""

        async def change() -> SubscriptionChange:
            return SubscriptionChange(cancel=True)

        await self.client.record_on_subscription(subscription_id, change)

    async def delete(self, endpoint: str, resource_id: str) -> None:
        """Delete something that this probe has made."""
        await self.client.wire.delete(endpoint, resource_id)

    async def _ids(self, endpoint: str, filters: Mapping[str, str]) -> list[str]:
        params = jsonapi.query(filters=filters, sort="id", page_size=jsonapi.PAGE_SIZE)
        return await self.client.wire.read(
            endpoint, lambda document: [str(item["id"]) for item in jsonapi.many(document)], params=params
        )

    async def _create(
        self,
        endpoint: str,
        model: type[M],
        attributes: Mapping[str, Any],
        related: Mapping[str, tuple[str, str]],
        view: Mapping[str, str],
    ) -> M:
        body = jsonapi.body_of(endpoint, attributes, related=related)
        return await self.client.wire.write(
            "POST", "create", endpoint, reader(model), body=body, params=view, reference=self._run
        )


def _card(document: jsonapi.Fields) -> CustomerPaymentSource:
    return CustomerPaymentSource.model_validate(jsonapi.one(document))


def _orders(document: jsonapi.Fields) -> list[Order]:
    return [Order.model_validate(item) for item in jsonapi.many(document)]
