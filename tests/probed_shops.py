"""Probes of sandboxes, as `perennial probe` carries them out."""

from __future__ import annotations

from typing import Any

from merchant import UNLIMITED, Merchant

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.cli.probe import Ended, carry_out, plan_of

TABLES = ("order_copies", "orders", "order_subscriptions", "customer_payment_sources", "tags")


def credentials_of(box: RunningSandbox) -> CommerceLayerCredentials:
    return credentials_for(
        box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED
    )


async def probed(box: RunningSandbox, order_id: str, spare_card: str | None = None) -> Ended:
    return await carry_out(await plan_of(credentials_of(box), order_id, spare_card))


def everything(merchant: Merchant) -> list[dict[str, Any]]:
    """All rows that a probe could leave or change."""
    return [row for table in TABLES for row in merchant.rows(f"SELECT * FROM {table} ORDER BY id")]
