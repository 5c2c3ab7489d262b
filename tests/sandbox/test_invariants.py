"""The sandbox's data stays consistent under random sequences of requests, failures, restarts and clock changes."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blocks.sandbox.control import seeding
from blocks.sandbox.control.sandbox import Sandbox
from blocks.sandbox.control.seeding import SeedPlan
from blocks.sandbox.http.messages import Request, Response
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop import failure_kinds, orders
from blocks.sandbox.shop.failure_kinds import FAILURES
from blocks.sandbox.shop.list_lag import lag_lists
from blocks.sandbox.shop.problems import Problem
from blocks.sandbox.shop.virtual_clock import Clock

OPTIONS = ("place_target_order", "reuse_wallet", "skip_errors", "ignore_invalid_coupon", "apply_promotions")


class ShopInUse(RuleBasedStateMachine):
    """Uses a shop in random ways, and checks its database after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        clock = Clock(datetime(2026, 3, 1, 6, tzinfo=UTC), rate=0)
        database = Path(self.folder.name) / "shop.sqlite"
        self.sandbox = Sandbox(Settings(limits="off", token_seconds=10**9), database, clock)
        self.shop = self.sandbox.shop
        plan = SeedPlan(subscriptions=2, active=2, due="2026-03-01T06:00:10Z", spread_seconds=60)
        made = seeding.seed(self.shop, self.sandbox.engine, plan)
        self.sources, self.subscriptions = made["source_order_ids"], made["subscription_ids"]
        grant = {"grant_type": "client_credentials", "client_id": "sandbox-client-id"}
        body = json.dumps({**grant, "client_secret": "sandbox-client-secret"}).encode()
        answer = self._send("POST", "/oauth/token", body, "application/json")
        self.token = json.loads(answer.body)["access_token"]

    def _send(self, method: str, path: str, body: bytes, content_type: str, token: str = "") -> Response:
        headers = {"content-type": content_type, "authorization": f"Bearer {token}"}
        answer = self.sandbox.server.handle(Request(method, path, "", headers, body, "test"))
        assert isinstance(answer, Response)
        assert answer.status < 500, answer.body
        return answer

    def _api(self, method: str, path: str, data: dict[str, Any]) -> Response:
        body = json.dumps({"data": data}).encode()
        return self._send(method, f"/api{path}", body, "application/vnd.api+json", self.token)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.shop.database.execute(sql).fetchall()

    def _targets(self) -> list[str]:
        return [row[0] for row in self._rows("SELECT id FROM orders WHERE _source_order_id IS NOT NULL ORDER BY id")]

    @rule(number=st.integers(0, 3), options=st.sets(st.sampled_from(OPTIONS)))
    def copy(self, number: int, options: set[str]) -> None:
        source = {"data": {"type": "orders", "id": self.sources[number]}}
        attributes = {name: name in options for name in OPTIONS}
        data = {"type": "order_copies", "attributes": attributes, "relationships": {"source_order": source}}
        assert self._api("POST", "/order_copies", data).status == 201

    @rule(number=st.integers(0, 3), kind=st.sampled_from([*FAILURES, None]), times=st.sampled_from([None, 1, 2]))
    def fail(self, number: int, kind: str | None, times: int | None) -> None:
        failure_kinds.set_failure(self.shop, self.sources[number], kind, times)

    @rule(seconds=st.sampled_from([0.3, 2.0, 60.0, 86_400.0, 2_700_000.0]))
    def advance(self, seconds: float) -> None:
        self.sandbox.timekeeper.advance(seconds)

    @rule(number=st.integers(0, 3), trigger=st.sampled_from(["_activate", "_deactivate", "_cancel"]))
    def change_subscription(self, number: int, trigger: str) -> None:
        key = self.subscriptions[number]
        data = {"type": "order_subscriptions", "id": key, "attributes": {trigger: True}}
        assert self._api("PATCH", f"/order_subscriptions/{key}", data).status in {200, 422}

    @precondition(lambda self: self._targets())
    @rule(data=st.data(), trigger=st.sampled_from(["_place", "_cancel", "_approve", "_capture", "_refund"]))
    def change_order(self, data: st.DataObject, trigger: str) -> None:
        key = data.draw(st.sampled_from(self._targets()))
        document = {"type": "orders", "id": key, "attributes": {trigger: True}}
        assert self._api("PATCH", f"/orders/{key}", document).status in {200, 422}

    @precondition(lambda self: self._targets())
    @rule(data=st.data())
    def pay(self, data: st.DataObject) -> None:
        order = self.shop.database.find("orders", data.draw(st.sampled_from(self._targets())))
        assert order is not None
        if order["status"] == "cancelled":
            with pytest.raises(Problem):
                orders.place(self.shop, order, paid_by_customer=True)
        else:
            orders.place(self.shop, order, paid_by_customer=True)

    @rule(seconds=st.sampled_from([0, 1, 60, 3600]))
    def lag(self, seconds: int) -> None:
        lag_lists(self.shop, seconds)

    @rule()
    def restart(self) -> None:
        self.shop.database.close()
        clock = Clock(datetime(2020, 1, 1, tzinfo=UTC), rate=0)
        self.sandbox = Sandbox(self.shop.settings, self.shop.database.path, clock)
        self.shop = self.sandbox.shop

    @invariant()
    def every_target_belongs_to_one_copy(self) -> None:
        assert self._rows("SELECT target_order_id FROM order_copies WHERE target_order_id IS NOT NULL "
                          "GROUP BY 1 HAVING COUNT(*) > 1") == []  # fmt: skip
        made = self._rows("SELECT COUNT(target_order_id) FROM order_copies")[0][0]
        assert len(self._targets()) == made

    @invariant()
    def status_and_times_agree(self) -> None:
        assert self._rows("SELECT * FROM order_copies WHERE (status = 'completed') <> (completed_at IS NOT NULL) "
                          "OR (status = 'failed') <> (failed_at IS NOT NULL) "
                          "OR (status = 'pending') <> (started_at IS NULL) "
                          "OR started_at < created_at OR completed_at < started_at") == []  # fmt: skip
        assert self._rows("SELECT * FROM orders WHERE (status IN ('placed', 'approved')) > (placed_at IS NOT NULL) "
                          "OR (status = 'cancelled') <> (cancelled_at IS NOT NULL)") == []  # fmt: skip

    @invariant()
    def a_completed_copy_with_place_target_order_has_placed_its_order(self) -> None:
        assert self._rows("SELECT c.id FROM order_copies c JOIN orders o ON o.id = c.target_order_id "
                          "WHERE c.status = 'completed' AND c.place_target_order = 1 AND c.errors_count = 0 "
                          "AND o.placed_at IS NULL") == []  # fmt: skip

    @invariant()
    def a_failed_copy_says_why(self) -> None:
        assert self._rows("SELECT * FROM order_copies WHERE status = 'failed' AND (errors_log IS NULL "
                          "OR errors_count = 0)") == []  # fmt: skip

    @invariant()
    def nothing_is_overdue(self) -> None:
        now = self.shop.now_text()
        sql = f"SELECT COUNT(*) FROM order_copies WHERE _due_at < '{now}'"
        self.sandbox.timekeeper.catch_up()
        assert self._rows(sql) == [(0,)]
        assert self._rows("SELECT COUNT(*) FROM order_subscriptions WHERE status = 'running' "
                          "AND _running_copy_id IS NULL") == [(0,)]  # fmt: skip

    @invariant()
    def a_replica_that_has_caught_up_equals_the_database(self) -> None:
        replica = self.shop.database.replica
        if replica is None:
            return
        seconds, replica.seconds = replica.seconds, 0
        replica.catch_up()
        replica.seconds = seconds
        for table in ("orders", "order_copies", "order_subscriptions", "resource_errors", "events", "sandbox_failures"):
            sql = f"SELECT * FROM {table} ORDER BY 1"
            assert replica.execute(sql).fetchall() == self._rows(sql)

    def teardown(self) -> None:
        self.shop.database.close()
        self.folder.cleanup()


ShopInUse.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
test_the_data_stays_consistent = ShopInUse.TestCase
