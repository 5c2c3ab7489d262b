"""A client as a small script has it: plain httpx, one request for each question, and a window's wait after a 429."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from bench.contestants.ticket import Ticket

Resource = dict[str, Any]
TOO_MANY = 429
FINAL = frozenset({"completed", "failed", "aborted"})


class PlainShop:
    """Use it as an async context manager. `waits`: after a 429, wait a whole window; if not set, raise it."""

    def __init__(self, ticket: Ticket, *, waits: bool = True) -> None:
        self.ticket = ticket
        self._waits = waits

    async def __aenter__(self) -> PlainShop:
        limits = httpx.Limits(max_connections=40)
        self._http = httpx.AsyncClient(limits=limits, timeout=30, trust_env=False)
        credentials = {
            "grant_type": "client_credentials",
            "client_id": self.ticket.client_id,
            "client_secret": self.ticket.client_secret,
        }
        answer = await self._http.post(self.ticket.auth_url, json=credentials)
        answer.raise_for_status()
        self._http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        self._http.headers["content-type"] = self._http.headers["accept"] = "application/vnd.api+json"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def due(self) -> list[Resource]:
        """All subscriptions that are due, with their source orders, 25 a page."""
        found: list[Resource] = []
        while True:
            params = {
                "filter[q][status_eq]": "inactive",
                "filter[q][next_run_at_lteq]": datetime.now(UTC).isoformat(),
                "filter[q][id_gt]": found[-1]["id"] if found else "",
                "sort": "id",
                "page[size]": "25",
                "include": "source_order",
            }
            page = await self._call("GET", "order_subscriptions", params={k: v for k, v in params.items() if v})
            found += page["data"]
            if len(page["data"]) < 25:
                return found

    async def copy(self, subscription: Resource) -> str:
        """Create the order copy, whose order is not placed yet, and return its id."""
        source = subscription["relationships"]["source_order"]["data"]
        body = {
            "data": {
                "type": "order_copies",
                "attributes": {"place_target_order": False, "reuse_wallet": True, "reference": subscription["id"]},
                "relationships": {"source_order": {"data": source}},
            }
        }
        return str((await self._call("POST", "order_copies", json=body))["data"]["id"])

    async def wait(self, copy_id: str) -> str:
        """Poll one copy until it is final, and return the id of the order that it made."""
        while True:
            copy = (await self._call("GET", f"order_copies/{copy_id}", params={"include": "target_order"}))["data"]
            if copy["attributes"]["status"] in FINAL:
                return str(copy["relationships"]["target_order"]["data"]["id"])
            await asyncio.sleep(self.ticket.poll_seconds)

    async def place(self, subscription: Resource, order_id: str) -> None:
        """Place the order, and tag it with what it was made for, in one request."""
        await self._change("orders", order_id, {"_place": True, "reference": subscription["id"]})

    async def record(self, subscription: Resource, order_id: str) -> None:
        """Write the outcome and the next date into the subscription."""
        next_run_at = (datetime.now(UTC) + timedelta(days=30)).isoformat()
        metadata = {**subscription["attributes"]["metadata"], "renewal": order_id}
        await self._change(
            "order_subscriptions", subscription["id"], {"metadata": metadata, "next_run_at": next_run_at}
        )

    async def _change(self, kind: str, resource_id: str, attributes: Resource) -> None:
        body = {"data": {"type": kind, "id": resource_id, "attributes": attributes}}
        await self._call("PATCH", f"{kind}/{resource_id}", json=body)

    async def _call(self, method: str, path: str, **how: Any) -> Any:
        while True:
            answer = await self._http.request(method, f"{self.ticket.api_url}/{path}", **how)
            if answer.status_code == TOO_MANY and self._waits:
                await asyncio.sleep(self.ticket.window_seconds)
                continue
            answer.raise_for_status()
            return answer.json()
