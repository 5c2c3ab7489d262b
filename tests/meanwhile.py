"""Lets a test act as a customer, staff or another program in the middle of a run, as soon as a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from merchant import Merchant
from sandbox_clock import SandboxClock

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import Placement, create_order_copy, place_order
from blocks.commerce_layer.clock import current_clock

JSON_API = {"Accept": "application/vnd.api+json", "Content-Type": "application/vnd.api+json"}


class Meanwhile(SandboxClock):
    """The sandbox's clock, which calls `act` as soon as `happened()` is true: once, or each time a task wakes."""

    def __init__(
        self, merchant: Merchant, happened: Callable[[], bool], act: Callable[[], None], *, once: bool = True
    ) -> None:
        super().__init__(merchant.sandbox)
        self._happened, self._act, self._once = happened, act, once
        self.has_acted = False

    def before_a_task_wakes(self) -> None:
        if not (self.has_acted and self._once) and self._happened():
            self.has_acted = True
            self._act()


def patch(merchant: Merchant, resource: str, key: str, **attributes: Any) -> None:
    """Change a resource as staff or a customer would, without Perennial's client."""
    links = attributes.pop("relationships", {})
    _send(merchant, "PATCH", f"{resource}/{key}", type=resource, id=key, attributes=attributes, relationships=links)


def create(merchant: Merchant, resource: str, **attributes: Any) -> str:
    """Create a resource as staff would, without Perennial's client; returns its id."""
    links = attributes.pop("relationships", {})
    made = _send(merchant, "POST", resource, type=resource, attributes=attributes, relationships=links)
    return str(made["id"])


def copy_order(merchant: Merchant, source_order_id: str, **attributes: Any) -> str:
    """Make an order copy without Perennial's client; returns its id."""
    link = {"source_order": {"data": {"type": "orders", "id": source_order_id}}}
    made = _send(merchant, "POST", "order_copies", type="order_copies", attributes=attributes, relationships=link)
    return str(made["id"])


def delete(merchant: Merchant, resource: str, key: str) -> None:
    """Delete a resource as staff or a customer would, without Perennial's client."""
    _send(merchant, "DELETE", f"{resource}/{key}")


def _send(merchant: Merchant, method: str, path: str, **data: Any) -> dict[str, Any]:
    box = merchant.sandbox
    grant = {"grant_type": "client_credentials", "client_id": box.client_id, "client_secret": box.client_secret}
    token = httpx.post(box.auth_url, json=grant, trust_env=False).json()["access_token"]
    headers = {**JSON_API, "Authorization": f"Bearer {token}"}
    body = {"data": data} if data else None
    answer = httpx.request(method, f"{box.api_url}/{path}", json=body, headers=headers, trust_env=False)
    answer.raise_for_status()
    sent: dict[str, Any] = answer.json()["data"] if answer.content else {}
    return sent


async def charge_once_more(merchant: Merchant, reference: str, source_order_id: str) -> None:
    """Create a copy with Perennial's reference and place its order, as another program would."""

    async def placement() -> Placement:
        return Placement(reference, "perennial", {})

    async with merchant.dashboard() as dashboard:
        copy = await create_order_copy(dashboard, OrderCopyDraft(source_order_id=source_order_id, reference=reference))
        while not copy.is_final:
            await current_clock().sleep(1)
            copy = (await dashboard.get_order_copies([copy.id]))[copy.id]
        assert copy.target_order_id is not None
        await place_order(dashboard, copy.target_order_id, placement)
