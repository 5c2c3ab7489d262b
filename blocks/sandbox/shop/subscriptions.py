"""
Order subscriptions and the native engine that runs the active ones.

When `next_run_at` comes, the engine creates one copy. The subscription is `running` until the copy ends. A failure is
counted in `errors_count` and never retried. Inactive subscriptions are not touched.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from blocks.sandbox.shop import orders, target_orders
from blocks.sandbox.shop.copies import CopyWorker
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.problems import invalid
from blocks.sandbox.shop.run_dates import first_after
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.virtual_clock import instant_of, text_of


class NativeEngine:
    """Runs the active subscriptions, as Commerce Layer does by itself."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.worker = CopyWorker(shop, self._run_ended)
        shop.order_placed = self._activate_by_source

    def resume(self) -> None:
        """Schedule the open work in an existing database: copies, placings and runs of subscriptions."""
        self.worker.resume()
        placing = "SELECT id, _placing_until FROM orders WHERE _placing_until IS NOT NULL ORDER BY 2"
        for order_id, until in self._shop.database.execute(placing).fetchall():
            orders.resume_placing(self._shop, order_id, until)
        sql = "SELECT * FROM order_subscriptions WHERE status = 'active'"
        cursor = self._shop.database.execute(sql)
        names = [column[0] for column in cursor.description]
        for row in cursor.fetchall():
            self.schedule(dict(zip(names, row, strict=True)))

    def schedule(self, subscription: Row) -> None:
        """Schedule the next run of an active subscription, the alert before it, and the end of the subscription."""
        if subscription["status"] != "active":
            return
        if self._became_pending(subscription):
            return
        ends = subscription.get("expires_at")
        if ends is not None and self._shop.settings.past_expiry == "inactive":
            self._shop.scheduler.at(instant_of(ends), partial(self._expire, subscription["id"], ends))
        if (due := subscription["next_run_at"]) is None:
            return
        self._shop.scheduler.at(_alert_at(subscription), partial(self._alert, subscription["id"], due))
        self._shop.scheduler.at(instant_of(due), partial(self._run, subscription["id"], due))

    def check_cards(self, customer_id: str | None) -> None:
        """Look again at the active subscriptions of a customer whose wallet has changed."""
        sql = "SELECT id FROM order_subscriptions WHERE status = 'active' AND customer_id = ?"
        for (subscription_id,) in self._shop.database.execute(sql, (customer_id,)).fetchall():
            subscription = self._shop.database.find("order_subscriptions", subscription_id)
            assert subscription is not None
            self._became_pending(subscription)

    def _became_pending(self, subscription: Row) -> bool:
        """Make an active subscription `pending` if no card can pay its next run and the settings say so."""
        shop = self._shop
        if shop.settings.pending_without_card == "off" or not target_orders.has_no_usable_card(shop, subscription):
            return False
        shop.database.update(
            "order_subscriptions", subscription["id"], {"status": "pending", "updated_at": shop.now_text()}
        )
        shop.publish("order_subscriptions.pending", "order_subscriptions", subscription["id"])
        return True

    def _activate_by_source(self, order_id: str) -> None:
        """Activate the subscriptions that wait for this source order to be placed."""
        waiting = self._shop.database.execute(
            "SELECT id FROM order_subscriptions "
            "WHERE source_order_id = ? AND status = 'draft' AND activate_by_source_order = 1",
            (order_id,),
        ).fetchall()
        for (subscription_id,) in waiting:
            subscription = self._shop.database.find("order_subscriptions", subscription_id)
            assert subscription is not None
            apply_trigger(self._shop, self, subscription, "_activate")

    def _still_due(self, subscription_id: str, due: str) -> Row | None:
        subscription = self._shop.database.find("order_subscriptions", subscription_id)
        if subscription is None or subscription["status"] != "active" or subscription["next_run_at"] != due:
            return None  # deactivated, moved or cancelled since
        expires_at = subscription["expires_at"]
        return None if expires_at is not None and expires_at <= due else subscription

    def _alert(self, subscription_id: str, due: str) -> None:
        subscription = self._still_due(subscription_id, due)
        if subscription is None or self._shop.now() < _alert_at(subscription):
            return  # the alert period was shortened, and another alert is scheduled
        if subscription["_alerted_for"] != due:
            self._shop.database.update("order_subscriptions", subscription_id, {"_alerted_for": due})
            self._shop.publish("order_subscriptions.renewal", "order_subscriptions", subscription_id)

    def _expire(self, subscription_id: str, expires_at: str) -> None:
        subscription = self._shop.database.find("order_subscriptions", subscription_id)
        if subscription is None or subscription["expires_at"] != expires_at:
            return  # deleted, or it was given another end since
        if subscription["status"] in {"active", "running"}:
            apply_trigger(self._shop, self, subscription, "_deactivate")

    def _run(self, subscription_id: str, due: str) -> None:
        subscription = self._still_due(subscription_id, due)
        if subscription is None or self._became_pending(subscription):
            return
        shop = self._shop
        automatic = subscription["subscription_model_id"] is not None
        values: Row = {
            "source_order_id": subscription["source_order_id"],
            "order_subscription_id": subscription_id,
            "place_target_order": subscription["place_target_order"],
        }
        copy_id = self.worker.create("recurring_order_copies" if automatic else "order_copies", values)
        changes = {
            "status": "running",
            "last_run_at": shop.now_text(),
            "next_run_at": _text(next_run(subscription, shop.now())),
            "updated_at": shop.now_text(),
            "_running_copy_id": copy_id,
        }
        shop.database.update("order_subscriptions", subscription_id, changes)

    def _run_ended(self, shop: Shop, subscription_id: str, copy_id: str, *, succeeded: bool) -> None:
        subscription = shop.database.find("order_subscriptions", subscription_id)
        if subscription is None or subscription["_running_copy_id"] != copy_id:
            return
        changes: dict[str, Any] = {
            "succeeded_on_last_run": int(succeeded),
            "updated_at": shop.now_text(),
            "_running_copy_id": None,
        }
        # If the subscription was deactivated or cancelled while it ran, its status stays.
        if subscription["status"] == "running":
            changes["status"] = "active"
        counted = {"occurrencies": succeeded or shop.settings.occurrencies == "runs", "errors_count": not succeeded}
        changes |= {name: int(subscription[name] or 0) + counts for name, counts in counted.items()}
        shop.database.update("order_subscriptions", subscription["id"], changes)
        topic = f"order_subscriptions.last_run_{'succeeded' if succeeded else 'failed'}"
        shop.publish(topic, "order_subscriptions", subscription["id"])
        self.schedule({**subscription, **changes})

    def abandon_run(self, subscription_id: str, copy_id: str) -> None:
        """End a run whose copy was deleted: that is neither a success nor a failure."""
        subscription = self._shop.database.find("order_subscriptions", subscription_id)
        if subscription is None or subscription["_running_copy_id"] != copy_id:
            return
        changes: dict[str, Any] = {"_running_copy_id": None, "updated_at": self._shop.now_text()}
        if subscription["status"] == "running":
            changes["status"] = "active"
        self._shop.database.update("order_subscriptions", subscription_id, changes)
        self.schedule({**subscription, **changes})


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else text_of(instant)


def _alert_at(subscription: Row) -> datetime:
    return instant_of(subscription["next_run_at"]) - timedelta(hours=subscription["renewal_alert_period"] or 1)


def next_run(subscription: Row, now: datetime) -> datetime | None:
    """The subscription's first run after `now`; None when there is none."""
    run = instant_of(subscription["next_run_at"])
    if run > now:
        return run
    return first_after(now, subscription["frequency"], run, subscription["_anchor_day"] or run.day)


def apply_trigger(shop: Shop, engine: NativeEngine, subscription: Row, name: str) -> None:
    """
    Apply `_activate`, `_deactivate`, `_cancel` or `_convert`; repeating one changes nothing.

    Raises:
        Problem: 422 when the subscription's status does not allow it.
    """
    if name == "_convert":
        raise invalid("subscription_model", "must exist", "blank")
    new_status, before, topic = _TRANSITIONS[name]
    status = subscription["status"]
    if status == new_status:
        return
    if status not in before:
        raise invalid("status", f"cannot transition from {status} to {new_status}", "invalid_transition")
    changes: dict[str, Any] = {"status": new_status, "updated_at": shop.now_text()}
    if name == "_activate" and subscription["next_run_at"] is not None:
        # It is not documented what happens to runs that were missed meanwhile. Here they are skipped.
        changes["next_run_at"] = _text(next_run(subscription, shop.now()))
    shop.database.update("order_subscriptions", subscription["id"], changes)
    shop.publish(topic, "order_subscriptions", subscription["id"])
    engine.schedule({**subscription, **changes})


_TRANSITIONS = {
    "_activate": ("active", {"draft", "inactive", "pending"}, "order_subscriptions.activate"),
    "_deactivate": ("inactive", {"active", "running"}, "order_subscriptions.deactivate"),
    "_cancel": ("cancelled", {"draft", "inactive", "active", "running", "pending"}, "order_subscriptions.cancel"),
}
