"""
Ways in which a copy or a placement fails, by name.

A failure is set on an order, usually the source order, or on a card. It lasts until it is cleared or used up (`times`).
A payment failure (`is_payment`) concerns only orders that are paid with that order's card.

The documentation has a single sample of `errors_log`, `{"status": ["cannot transition from draft to placed"]}` with a
count of 2. The texts here are modelled on it, and on the error codes in official front ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blocks.sandbox.shop.problems import Problem, problem
from blocks.sandbox.shop.shop import Shop

_TRANSITION = "cannot transition from pending to placed"


@dataclass(frozen=True, slots=True)
class Failure:
    """
    One way to fail.

    `stage` says where: `pace` (how long the copy or the placing takes), `end` (the copy ends in another way), `copy`
    (before there is a target order), `collect` (an error that `skip_errors` ignores; no target order either), `place`
    (the target order exists, pending and unpaid; `_place` fails too while the failure lasts).
    """

    name: str
    stage: str
    field: str
    message: str
    error: str
    code: str = "VALIDATION_ERROR"
    is_payment: bool = False

    @property
    def log(self) -> dict[str, list[str]]:
        """The `errors_log` of a copy that failed in this way."""
        own = {self.field: [self.message]}
        return {"status": [_TRANSITION], **own} if self.stage == "place" else own

    def log_from(self, status: str) -> dict[str, list[str]]:
        """The same, if the order that could not be placed has this status."""
        refused = f"cannot transition from {status} to placed"
        return {name: [refused if text == _TRANSITION else text for text in texts] for name, texts in self.log.items()}

    def refusal(self) -> Problem:
        """The 422 that `_place` answers."""
        return problem(
            422,
            self.code,
            self.message,
            f"{self.field} - {self.message}",
            pointer=f"/data/attributes/{self.field}",
            meta={"error": self.error},
        )


def _payment(name: str, message: str, error: str, code: str = "PAYMENT_NOT_APPROVED_FOR_EXECUTION") -> Failure:
    return Failure(name, "place", "payment_source", message, error, code, is_payment=True)


_ALL = (
    Failure("no_wallet", "place", "payment_method", "can't be blank", "blank", is_payment=True),
    _payment("declined", "Your card was declined.", "card_declined"),
    _payment("insufficient_funds", "Your card has insufficient funds.", "insufficient_funds"),
    _payment("hard_declined", "Your card was declined. Do not retry: lost or stolen card.", "do_not_retry"),
    _payment("expired_card", "Your card has expired.", "expired_card"),
    _payment(
        "authentication_required",
        "The payment requires authentication by the customer.",
        "authentication_required",
        "PAYMENT_INTENT_AUTHENTICATION_FAILURE",
    ),
    Failure("gateway_timeout", "place", "payment_source", "The payment gateway did not answer in time.", "timeout"),
    Failure("placing", "place", "status", _TRANSITION, "invalid_transition"),
    Failure("out_of_stock_at_placing", "place", "line_items", "is out of stock", "out_of_stock", "OUT_OF_STOCK"),
    Failure("no_shipping_method", "place", "shipments", "no shipping methods", "blank", "NO_SHIPPING_METHODS"),
    Failure("out_of_stock", "collect", "line_items", "is out of stock", "out_of_stock", "OUT_OF_STOCK"),
    Failure("price_missing", "collect", "line_items", "price can't be found", "not_found"),
    Failure("invalid_coupon", "collect", "coupon_code", "is not a valid coupon", "noent_coupon"),
    Failure("missing_address", "collect", "billing_address", "can't be blank", "blank"),
    Failure("sku_gone", "copy", "line_items", "sku_code not found", "not_found"),
    Failure("source_deleted", "copy", "source_order", "must exist", "blank"),
    Failure("aborted", "end", "base", "aborted", "aborted"),
    Failure("stuck", "pace", "base", "never finishes", "stuck"),
    Failure("stuck_pending", "pace", "base", "never starts", "stuck"),
    Failure("slow", "pace", "base", "takes long", "slow"),
    Failure("slow_placing", "pace", "base", "takes long to be placed", "slow"),
    Failure("stuck_placing", "pace", "base", "is never placed", "stuck"),
)

FAILURES: Mapping[str, Failure] = {failure.name: failure for failure in _ALL}

NEVER_PLACED = frozenset({"missing_address"})
"""Failures that `skip_errors` ignores in a copy, although the target order cannot be placed."""

_LARGEST_COUNT = 2**53

NO_FAILURE = "none"
"""Set on a target order that no longer has its source's failure."""


def set_failure(shop: Shop, owner_id: str, kind: str | None, times: int | None = None) -> None:
    """
    Make copies and placements of an order fail in this way from now on, `times` times (None: until cleared).

    The owner may also be a card: then placements of the orders that are paid with it fail.

    Raises:
        ValueError: no such kind, or no number.
    """
    if kind is None:
        shop.database.execute("DELETE FROM sandbox_failures WHERE order_id = ?", (owner_id,))
        return
    if times is not None and not is_count(times):
        raise ValueError(f"times is {times!r}; it is a number from 0 on")
    if kind != NO_FAILURE and kind not in FAILURES:
        raise ValueError(f"unknown failure {kind!r}; known are: {', '.join(sorted(FAILURES))}")
    shop.database.execute("INSERT OR REPLACE INTO sandbox_failures VALUES (?, ?, ?)", (owner_id, kind, times))


def is_count(value: Any) -> bool:
    """Whether a control was given a number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_COUNT


def failure_of(shop: Shop, *order_ids: str | None) -> tuple[Failure, str] | None:
    """The failure of the first of these orders that has an entry, and that order's id."""
    for order_id in order_ids:
        found = shop.database.execute(
            "SELECT kind FROM sandbox_failures WHERE order_id = ? AND (remaining IS NULL OR remaining > 0)", (order_id,)
        ).fetchone()
        if found is not None:
            return None if found[0] == NO_FAILURE else (FAILURES[found[0]], str(order_id))
    return None


def failure_of_order(shop: Shop, order: Mapping[str, Any]) -> tuple[Failure, str] | None:
    """The failure of an order, its source or its card, and the id of the one on which it is set."""
    source_id, card_id = order["_source_order_id"], order["_customer_payment_source_id"]
    found = failure_of(shop, order["id"], source_id)
    if found is not None and found[1] == source_id and found[0].is_payment:
        # The source order's card fails; an order that is paid with another card does not.
        source = shop.database.find("orders", source_id)
        if source is not None and source["_customer_payment_source_id"] not in {None, card_id}:
            found = None
    return found or failure_of(shop, card_id)


def is_skipped(failure: Failure, copy: Mapping[str, Any]) -> bool:
    """Whether the options of this copy make it ignore a failure of the stage `collect`."""
    if failure.stage != "collect":
        return False
    return bool(copy.get("skip_errors")) or is_ignored(failure, copy)


def is_ignored(failure: Failure, copy: Mapping[str, Any]) -> bool:
    """Whether this copy drops the invalid coupon."""
    return failure.name == "invalid_coupon" and bool(copy.get("ignore_invalid_coupon"))


def use_once(shop: Shop, order_id: str) -> None:
    """Count one use of a failure with a limited number of uses; the last use ends it."""
    shop.database.execute("UPDATE sandbox_failures SET remaining = remaining - 1 WHERE order_id = ?", (order_id,))
    shop.database.execute("DELETE FROM sandbox_failures WHERE order_id = ? AND remaining <= 0", (order_id,))


def end_payment_failure(shop: Shop, order_id: str) -> None:
    """End a payment failure that was set on this order itself, because it gets another payment source."""
    found = failure_of(shop, order_id)
    if found is not None and found[0].is_payment:
        set_failure(shop, order_id, None)
