"""
Webhooks: events are recorded and delivered to the webhooks that listen, signed, with retries and a circuit breaker.

Documented: timeout 5 s, any 2xx is success, up to 10 retries, after 30 consecutive failures the circuit opens
until it is reset. Undocumented and chosen here: the spacing of retries (doubling from 5 s, sandbox time).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson

from blocks.sandbox.api.documents import Writer
from blocks.sandbox.api.queries import read_query, records_with, selection
from blocks.sandbox.resources.definitions import ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.problems import Problem
from blocks.sandbox.shop.shop import Shop

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 5.0
RETRIES = 10
CIRCUIT_FAILURES = 30
_FIRST_RETRY_SECONDS = 5.0
_CONCURRENT_CALLS = 20
_LISTENING = """
SELECT id, include_resources FROM webhooks WHERE topic = ? AND disabled_at IS NULL AND circuit_state = 'closed'
"""


class Webhooks:
    """Records events and delivers them."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._writer = Writer(shop.database, shop.organization_id, shop.settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        self._gate = asyncio.Semaphore(_CONCURRENT_CALLS)
        self.copies_per_delivery = 1
        """How many times to deliver each call, because real senders sometimes repeat one."""

    def publish(self, topic: str, resource_type: str, resource_id: str) -> None:
        """Record an event and start its deliveries."""
        now = self._shop.now_text()
        event: Row = {
            "id": self._shop.database.new_id(),
            "name": topic,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "metadata": "{}",
            "created_at": now,
            "updated_at": now,
        }
        self._shop.database.insert("events", event)
        self.publish_again(event)

    def publish_again(self, event: Row) -> None:
        """
        Call every webhook that listens to this event, with its resource as it is now.

        The calls are made after the commit, so none is about a change that was rolled back.
        """
        shop, topic = self._shop, str(event["name"])
        for webhook_id, include in shop.database.execute(_LISTENING, (topic,)).fetchall():
            payload = self._payload(event, orjson.loads(include or "[]"))
            deliver = partial(self._deliver, webhook_id, event["id"], topic, payload, 0)
            for _ in range(self.copies_per_delivery):
                shop.database.after_commit(deliver)

    async def close(self) -> None:
        """Cancel deliveries that are under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _payload(self, event: Row, include: list[str]) -> bytes:
        """The resource as the API would show it, with relative links. A deleted one has only its id."""
        kind = RESOURCE_TYPES[event["resource_type"]]
        also = ["tags"] if event["name"].endswith(".tagged") else []
        known = [path for path in dict.fromkeys([*include, *also]) if _can_include(kind, path)]
        query = read_query(kind, _including(known), is_list=False)
        columns = selection(kind.name, None, tuple(query.include))
        found = records_with(self._shop.database, kind, columns, [event["resource_id"]])
        if not found or event["name"].endswith(".destroy"):
            found = [(event["resource_id"], *[None] * (len(kind.columns) - 1))]
        return self._writer.one(kind, found[0], query, "/api")

    def _deliver(self, webhook_id: str, event_id: str, topic: str, payload: bytes, attempt: int) -> None:
        webhook = self._shop.database.find("webhooks", webhook_id)
        if webhook is None or webhook["disabled_at"] is not None or webhook["circuit_state"] == "open":
            return
        task = asyncio.get_running_loop().create_task(self._call(webhook, event_id, topic, payload, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, webhook: Row, event_id: str, topic: str, payload: bytes, attempt: int) -> None:
        import httpx  # takes half of a sandbox's start, and most sandboxes have no webhooks

        self._client = self._client or httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False)
        digest = hmac.new(str(webhook["shared_secret"]).encode(), payload, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/vnd.api+json",
            "X-CommerceLayer-Signature": base64.b64encode(digest).decode(),
            "X-CommerceLayer-Topic": topic,
        }
        try:
            async with self._gate:
                answer = await self._client.post(str(webhook["callback_url"]), content=payload, headers=headers)
            code, message, ok = str(answer.status_code), answer.reason_phrase, answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            code, message, ok = "", str(error) or type(error).__name__, False
        self._note(webhook, event_id, payload, code, message)
        if ok:
            self._shop.database.update("webhooks", webhook["id"], {"circuit_failure_count": 0})
        else:
            self._fail(webhook["id"], event_id, topic, payload, attempt)

    def _note(self, webhook: Row, event_id: str, payload: bytes, code: str, message: str) -> None:
        now = self._shop.now_text()
        callback = {
            "id": self._shop.database.new_id(),
            "callback_url": webhook["callback_url"],
            "payload": payload.decode(),
            "response_code": code,
            "response_message": message[:500],
            "webhook_id": webhook["id"],
            "event_id": event_id,
            "metadata": "{}",
            "created_at": now,
            "updated_at": now,
        }
        self._shop.database.insert("event_callbacks", callback)

    def _fail(self, webhook_id: str, event_id: str, topic: str, payload: bytes, attempt: int) -> None:
        webhook = self._shop.database.find("webhooks", webhook_id)
        if webhook is None:
            return
        failures = int(webhook["circuit_failure_count"] or 0) + 1
        changes: Row = {"circuit_failure_count": failures}
        if failures >= CIRCUIT_FAILURES:
            changes["circuit_state"] = "open"
        self._shop.database.update("webhooks", webhook_id, changes)
        if attempt < RETRIES:
            seconds = _FIRST_RETRY_SECONDS * 2**attempt
            self._shop.after(seconds, partial(self._deliver, webhook_id, event_id, topic, payload, attempt + 1))


def _including(paths: Iterable[str]) -> str:
    return urlencode({"include": ",".join(paths)})


def _can_include(kind: ResourceType, path: str) -> bool:
    """Whether the path exists. A webhook may name one that does not; then its calls leave it out."""
    try:
        read_query(kind, _including([path]), is_list=False)
    except Problem:
        return False
    return True
