"""
The controls under /_sandbox: clock, seeding, failures, faults, counters. They are not part of Commerce Layer.

Requests and responses are plain JSON. They need no token, and are neither limited nor counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from blocks.sandbox.api.openapi import describe
from blocks.sandbox.api.webhooks import Webhooks
from blocks.sandbox.control import seeding
from blocks.sandbox.control.creation import create_subscription
from blocks.sandbox.control.descriptions import CONTROLS, control_paths
from blocks.sandbox.http.messages import Request, Response
from blocks.sandbox.http.server import Server
from blocks.sandbox.shop import failure_kinds, orders, prices, wallet_cards
from blocks.sandbox.shop.failure_kinds import FAILURES
from blocks.sandbox.shop.list_lag import lag_lists
from blocks.sandbox.shop.problems import Problem
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine
from blocks.sandbox.shop.timekeeping import Timekeeper
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

Given = dict[str, Any]
Handler = Callable[[Given], Any]


class NotFoundError(Exception):
    """The resource that a request to a control names does not exist."""


class Controls:
    """One method per control."""

    def __init__(
        self, shop: Shop, timekeeper: Timekeeper, engine: NativeEngine, webhooks: Webhooks, server: Server
    ) -> None:
        self._shop = shop
        self._timekeeper = timekeeper
        self._engine = engine
        self._webhooks = webhooks
        self._server = server
        handlers = self._table()
        self._handlers = {control: handlers[control] for control in CONTROLS}

    def _table(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "info"): self._info,
            ("GET", "openapi.json"): self._openapi,
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._change_clock,
            ("POST", "seed"): self._seed,
            ("POST", "subscriptions"): self._subscription,
            ("POST", "failures"): self._set_failure,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "counters"): self._counters,
            ("DELETE", "counters"): self._reset_counters,
            ("POST", "pay"): self._pay,
            ("POST", "payment_sources"): self._new_card,
            ("POST", "prices"): self._change_price,
            ("POST", "payments"): self._change_payment,
            ("POST", "release"): self._release,
            ("POST", "tokens/revoke"): self._revoke_tokens,
            ("POST", "lag"): self._lag,
            ("DELETE", "limits"): self._forget_limits,
            ("POST", "webhooks"): self._deliver_webhooks,
        }

    def answer(self, request: Request) -> Response:
        """Carry out one control."""
        name = request.path.removeprefix("/_sandbox").strip("/")
        handler = self._handlers.get((request.method, name))
        if handler is None:
            return _no_such_control(request.method, name)
        try:
            given = orjson.loads(request.body) if request.body else {}
            if not isinstance(given, dict):
                raise TypeError("the body must be a JSON object")
            with self._shop.database.transaction():
                return _json(200, handler(given))
        except NotFoundError as missing:
            return _json(404, {"error": str(missing)})
        except Problem as refused:
            return _json(refused.status, {"error": refused.errors[0]["detail"]})
        except RecursionError:
            return _json(400, {"error": "the body is nested too deeply"})
        except (ValueError, TypeError, KeyError, OverflowError, sqlite3.Error) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})

    def _info(self, given: Given) -> Given:
        del given
        settings, database = asdict(self._shop.settings), self._shop.database
        lag = {"list_lag_seconds": database.replica.seconds if database.replica is not None else 0.0}
        return {**settings, **lag, "organization_id": self._shop.organization_id, "database": str(database.path)}

    def _openapi(self, given: Given) -> Given:
        del given
        return describe(control_paths())

    def _clock(self, given: Given) -> Given:
        del given
        clock = self._shop.clock
        due = self._shop.scheduler.next_instant()
        return {"now": text_of(clock.now()), "rate": clock.rate, "next_event_at": text_of(due) if due else None}

    def _change_clock(self, given: Given) -> Given:
        events = 0
        if "rate" in given:
            rate = float(given["rate"])
            if not 0 <= rate <= 1_000_000:  # noqa: PLR2004  faster than that is `advance`
                raise ValueError(f"rate is {rate!r}; it lies between 0 and 1000000")
            self._timekeeper.run_at(rate)
        if "set" in given:
            events += self._timekeeper.move_to(instant_of(given["set"]))
        if "advance" in given:
            seconds = float(given["advance"])
            if not 0 <= seconds <= 10_000_000_000:  # noqa: PLR2004  about 300 years
                raise ValueError(f"advance is {seconds!r}; it is a number of seconds from 0 on")
            events += self._timekeeper.advance(seconds)
        return {**self._clock({}), "events": events}

    def _seed(self, given: Given) -> Given:
        return seeding.seed(self._shop, self._engine, seeding.read_plan(given))

    def _subscription(self, given: Given) -> Given:
        return create_subscription(self._shop, self._engine, given)

    def _set_failure(self, given: Given) -> Given:
        if "customer_payment_source_id" in given:
            return self._set_card_failure(given)
        order_id = self._order(given["order_id"])["id"]
        failure_kinds.set_failure(self._shop, order_id, given.get("kind"), given.get("times"))
        if given.get("kind") in {None, failure_kinds.NO_FAILURE}:
            orders.release_placing(self._shop, order_id)
        return {"order_id": order_id, "kind": given.get("kind"), "times": given.get("times")}

    def _set_card_failure(self, given: Given) -> Given:
        card_id, kind, times = str(given["customer_payment_source_id"]), given.get("kind"), given.get("times")
        if not self._shop.database.exists("customer_payment_sources", card_id):
            raise NotFoundError(f"no customer payment source {card_id[:100]!r}")
        if kind is not None and kind in FAILURES and not FAILURES[kind].is_payment:
            raise ValueError(f"{kind!r} is not a card's failure: set it on an order")
        failure_kinds.set_failure(self._shop, card_id, kind, times)
        return {"customer_payment_source_id": card_id, "kind": kind, "times": times}

    def _faults(self, given: Given) -> list[Given]:
        del given
        return [asdict(fault) for fault in self._server.faults.listed()]

    def _add_fault(self, given: Given) -> Given:
        return asdict(self._server.faults.add(given))

    def _revoke_tokens(self, given: Given) -> Given:
        del given
        return {"revoked": self._server.tokens.revoke_all()}

    def _clear_faults(self, given: Given) -> Given:
        del given
        self._server.faults.clear()
        return {}

    def _lag(self, given: Given) -> Given:
        seconds, resources = float(given["list_lag_seconds"]), given.get("resources")
        if resources is not None and not isinstance(resources, list):
            raise TypeError(f"resources is {resources!r}; it lists resource types")
        lag_lists(self._shop, seconds, resources)
        return {"list_lag_seconds": seconds, "resources": resources}

    def _forget_limits(self, given: Given) -> Given:
        del given
        self._server.limits.reset()
        return {}

    def _counters(self, given: Given) -> Given:
        del given
        requests: dict[str, int] = {}
        statuses: dict[str, int] = {}
        detail: dict[str, dict[str, int]] = {}
        for (method, endpoint, status), count in self._server.requests.items():
            key = f"{method} {endpoint}"
            requests[key] = requests.get(key, 0) + count
            statuses[str(status)] = statuses.get(str(status), 0) + count
            detail.setdefault(key, {})[str(status)] = count
        return {
            "total": sum(requests.values()),
            "requests": requests,
            "statuses": statuses,
            "detail": detail,
            "throttled": statuses.get("429", 0),
            "faults": self._server.faults.hits,
        }

    def _reset_counters(self, given: Given) -> Given:
        del given
        self._server.requests.clear()
        self._server.faults.hits = 0
        return {}

    def _pay(self, given: Given) -> Given:
        """The customer pays an order through the checkout, whatever failure it has."""
        order = self._order(given["order_id"])
        if (card_id := given.get("customer_payment_source_id")) is not None:
            orders.attach_payment_source(self._shop, order, str(card_id))
            order = self._order(order["id"])
        orders.place(self._shop, order, paid_by_customer=True)
        return {"order_id": order["id"], "status": "placed"}

    def _new_card(self, given: Given) -> Given:
        """A customer adds a card to the wallet."""
        customer_id = str(given["customer_id"])
        if not self._shop.database.exists("customers", customer_id):
            raise NotFoundError(f"no customer {customer_id!r}")
        card_id = self._shop.database.new_id()
        for table, row in wallet_cards.card_rows(card_id, customer_id, "1111", self._shop.now_text()).items():
            self._shop.database.insert(table, row)
        return {"customer_payment_source_id": card_id}

    def _change_price(self, given: Given) -> Given:
        return prices.change(self._shop, self._order(given["order_id"]), given)

    def _change_payment(self, given: Given) -> Given:
        prices.set_payment_status(self._shop, self._order(given["order_id"]), given["payment_status"])
        return {"order_id": given["order_id"], "payment_status": given["payment_status"]}

    def _release(self, given: Given) -> Given:
        """Release a stuck copy, or the stuck placing of an order."""
        if "order_id" in given:
            order_id = self._order(given["order_id"])["id"]
            orders.release_placing(self._shop, order_id)
            return {"order_id": order_id}
        copy_id = str(given["order_copy_id"])
        copy = self._shop.database.find("order_copies", copy_id)
        if copy is None:
            raise NotFoundError(f"no order copy {copy_id!r}")
        if copy["status"] in {"pending", "in_progress"}:
            self._engine.worker.release("order_copies", copy_id)
        return {"order_copy_id": copy_id}

    def _deliver_webhooks(self, given: Given) -> Given:
        """Set how many times each call is delivered."""
        copies = given["copies_per_delivery"]
        if not failure_kinds.is_count(copies) or not 1 <= copies <= 10:  # noqa: PLR2004  enough for any test
            raise ValueError(f"copies_per_delivery is {copies!r}; it lies between 1 and 10")
        self._webhooks.copies_per_delivery = copies
        return {"copies_per_delivery": copies}

    def _order(self, order_id: Any) -> Given:
        row = self._shop.database.find("orders", str(order_id))
        if row is None:
            raise NotFoundError(f"no order {str(order_id)[:100]!r}")
        return row


def _no_such_control(method: str, name: str) -> Response:
    """404, or 405 where the control has other methods."""
    methods = [one for one, path in CONTROLS if path == name]
    known = sorted(f"{one} /_sandbox/{path}" for one, path in CONTROLS)
    reason = f"no control {method[:20]} /_sandbox/{name[:200]}"
    refused = _json(405 if methods else 404, {"error": reason, "controls": known})
    if methods:
        refused.headers["Allow"] = ", ".join(methods)
    return refused


def _json(status: int, content: Any) -> Response:
    return Response(status, orjson.dumps(content), "application/json")
