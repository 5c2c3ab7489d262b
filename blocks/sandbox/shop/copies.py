"""
Order copies: the asynchronous job, from `pending` over `in_progress` to its final status.

The private column `_due_at` stores the instant of a copy's next step, so that a restarted sandbox can go on.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import orjson

from blocks.sandbox.shop import catalogue, failure_kinds, orders, target_orders
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.failure_kinds import Failure
from blocks.sandbox.shop.problems import Problem
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

TABLES = ("order_copies", "recurring_order_copies")
_NOBODY = ""  # on whom a failure is set that follows from the lines
_TOPICS = {"completed": "complete", "failed": "fail"}  # an aborted copy has neither a time nor a topic


class OnEnd(Protocol):
    """Called at the end of a copy that was made by a subscription's native run."""

    def __call__(self, shop: Shop, subscription_id: str, copy_id: str, *, succeeded: bool) -> None:
        """Update the subscription."""
        ...


class CopyWorker:
    """Runs copies; calls `on_end` at the end of those that were made by a subscription's native run."""

    def __init__(self, shop: Shop, on_end: OnEnd) -> None:
        self._shop = shop
        self._on_end = on_end

    def resume(self) -> None:
        """Schedule the next steps of the unfinished copies in an existing database."""
        for table in TABLES:
            sql = f"SELECT id, _due_at FROM {table} WHERE _due_at IS NOT NULL ORDER BY _due_at"  # noqa: S608  ours
            for copy_id, due in self._shop.database.execute(sql).fetchall():
                self._shop.scheduler.at(instant_of(due), partial(self._step, table, copy_id, due))

    def create(self, table: str, values: Row) -> str:
        """Store a new copy and schedule its first step; returns its id."""
        shop = self._shop
        copy_id = shop.database.new_id()
        now = shop.now_text()
        pace = self._pace(values["source_order_id"], "stuck_pending")
        due = None if pace else text_of(shop.now() + timedelta(seconds=shop.settings.queue_seconds))
        defaults: Row = {
            "type": table,
            "status": "pending",
            "errors_count": 0,
            "place_target_order": 0,
            "reuse_wallet": 1,
            "metadata": "{}",
            "order_subscription_id": None,
        }
        if table == "order_copies":
            defaults |= dict.fromkeys(("cancel_source_order", "apply_promotions", "skip_errors"), 0)
            defaults["ignore_invalid_coupon"] = 0
        row = {**defaults, **values, "id": copy_id, "created_at": now, "updated_at": now, "_due_at": due}
        shop.database.insert(table, row)
        shop.publish(f"{table}.create", table, copy_id)
        if due is not None:
            shop.scheduler.at(instant_of(due), partial(self._step, table, copy_id, due))
        return copy_id

    def release(self, table: str, copy_id: str) -> None:
        """Let a stuck copy go on now."""
        due = self._shop.now_text()
        self._shop.database.update(table, copy_id, {"_due_at": due})
        self._shop.scheduler.at(self._shop.now(), partial(self._step, table, copy_id, due))

    def _step(self, table: str, copy_id: str, due: str) -> None:
        copy = self._shop.database.find(table, copy_id)
        if copy is None or copy["_due_at"] != due:
            return  # deleted, or rescheduled since
        if copy["status"] == "pending":
            self._start(table, copy)
        else:
            self._finish(table, copy)

    def _start(self, table: str, copy: Row) -> None:
        shop = self._shop
        now = shop.now_text()
        due = self._end_of(copy)
        changes = {"status": "in_progress", "started_at": now, "updated_at": now, "_due_at": due}
        shop.database.update(table, copy["id"], changes)
        shop.publish(f"{table}.start", table, copy["id"])
        if due is not None:
            shop.scheduler.at(instant_of(due), partial(self._step, table, copy["id"], due))

    def _end_of(self, copy: Row) -> str | None:
        if self._pace(copy["source_order_id"], "stuck"):
            return None
        settings = self._shop.settings
        spread = settings.copy_spread * (2 * self._shop.random_for(copy["id"]).random() - 1)
        seconds = settings.copy_seconds * (1 + spread)
        if self._pace(copy["source_order_id"], "slow"):
            seconds = settings.slow_seconds
        return text_of(self._shop.now() + timedelta(seconds=seconds))

    def _pace(self, source_order_id: str, name: str) -> bool:
        found = failure_kinds.failure_of(self._shop, source_order_id)
        if found is None or found[0].name != name:
            return False
        failure_kinds.use_once(self._shop, found[1])
        return True

    def _finish(self, table: str, copy: Row) -> None:
        status, log, target_id = self._outcome(copy)
        now = self._shop.now_text()
        changes: dict[str, Any] = {
            "status": status,
            "errors_log": orjson.dumps(log).decode() if log else None,
            "errors_count": sum(map(len, log.values())),
            "target_order_id": target_id,
            "updated_at": now,
            "_due_at": None,
        }
        if status in _TOPICS:
            changes[f"{status}_at"] = now
        self._shop.database.update(table, copy["id"], changes)
        if status in _TOPICS:
            self._shop.publish(f"{table}.{_TOPICS[status]}", table, copy["id"])
        if copy["order_subscription_id"] is not None:
            self._on_end(self._shop, copy["order_subscription_id"], copy["id"], succeeded=status == "completed")

    def _outcome(self, copy: Row) -> tuple[str, dict[str, list[str]], str | None]:
        """Make and place the target order; returns the copy's final status, its errors and the target order's id."""
        shop = self._shop
        source = shop.database.find("orders", copy["source_order_id"])
        if source is None:
            return "failed", failure_kinds.FAILURES["source_deleted"].log, None
        found = self._failure_of(source, copy)
        log: dict[str, list[str]] = {}
        if found is not None and self._ends(found[0], copy):
            failure_kinds.use_once(shop, found[1])
            return self._aborted(source, copy) if found[0].stage == "end" else ("failed", found[0].log, None)
        if found is not None and found[0].stage == "collect":
            log = {} if failure_kinds.is_ignored(found[0], copy) else found[0].log
        target_id = target_orders.create(shop, source, copy)
        if copy["place_target_order"]:
            refusal = self._place(target_id)
            log = refusal or log
            if refusal and not copy.get("skip_errors"):
                return "failed", log, target_id
        if copy.get("cancel_source_order"):
            refusal = self._cancel(source)
            log = {**log, **refusal}
            if refusal and not copy.get("skip_errors"):
                return "failed", log, target_id
        return "completed", log, target_id

    def _aborted(self, source: Row, copy: Row) -> tuple[str, dict[str, list[str]], str | None]:
        leaves_an_order = self._shop.settings.aborted_leaves == "order"
        return "aborted", {}, target_orders.create(self._shop, source, copy) if leaves_an_order else None

    def _failure_of(self, source: Row, copy: Row) -> tuple[Failure, str] | None:
        """The failure that was set on the source order, or that of its lines if the set one does not end the copy."""
        found = failure_kinds.failure_of(self._shop, source["id"])
        if found is not None and self._ends(found[0], copy):
            return found
        failure = catalogue.failure_of_copies(self._shop, source)
        return found if failure is None else (failure, _NOBODY)

    def _ends(self, failure: Failure, copy: Row) -> bool:
        if failure.stage == "collect":
            return not failure_kinds.is_skipped(failure, copy)
        return failure.stage in {"copy", "end"}

    def _cancel(self, source: Row) -> dict[str, list[str]]:
        """Cancel the source order; returns the errors, none on success."""
        try:
            orders.apply_trigger(self._shop, source, "_cancel", value=True)
        except Problem as refused:
            return {"status": [error["title"] for error in refused.errors]}
        return {}

    def _place(self, target_id: str) -> dict[str, list[str]]:
        """Place the target order; returns the errors, none on success."""
        shop = self._shop
        target = shop.database.find("orders", target_id)
        assert target is not None
        reason = orders.reason_not_to_place(shop, target)
        if reason is None:
            orders.mark_placed(shop, target, paid=shop.settings.auto_capture)
            return {}
        orders.record_refusal(shop, target, *reason)
        status = shop.settings.failed_target
        shop.database.update("orders", target_id, {"status": status})
        return reason[0].log_from(status)
