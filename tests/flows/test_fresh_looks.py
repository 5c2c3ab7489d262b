"""A creation that has to wait for the rate budget must not act upon what it read long ago."""

from __future__ import annotations

import httpx
from merchant import Merchant, SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer

JSON_API = {"Accept": "application/vnd.api+json", "Content-Type": "application/vnd.api+json"}


class CustomersChangeTheirMinds(SandboxClock):
    """As soon as the first copy is made, every other subscription of the shop is cancelled by its customer."""

    def __init__(self, merchant: Merchant, subscription_ids: list[str]) -> None:
        super().__init__(merchant.sandbox)
        self._merchant = merchant
        self._ids = subscription_ids
        self.cancelled: list[str] = []

    async def sleep(self, seconds: float) -> None:
        copies = self._merchant.copies()
        if copies and not self.cancelled:
            renewed = {row["reference"].partition("@")[0] for row in copies}
            self.cancelled = [each for each in self._ids if each not in renewed]
            self._cancel()
        await super().sleep(seconds)

    def _cancel(self) -> None:
        box = self._merchant.sandbox
        grant = {"grant_type": "client_credentials", "client_id": box.client_id, "client_secret": box.client_secret}
        token = httpx.post(box.auth_url, json=grant, trust_env=False).json()["access_token"]
        for key in self.cancelled:
            data = {"type": "order_subscriptions", "id": key, "attributes": {"_cancel": True}}
            url = f"{box.api_url}/order_subscriptions/{key}"
            headers = {**JSON_API, "Authorization": f"Bearer {token}"}
            httpx.patch(url, json={"data": data}, headers=headers, trust_env=False).raise_for_status()


async def test_whoever_cancels_while_the_creation_waits_for_the_rate_budget_is_left_alone(
    server: PrefectServer,
) -> None:
    with RunningSandbox("--limits", "off", "--frozen") as sandbox:
        merchant = Merchant(sandbox)
        await merchant.install(limits=RateLimits(writes_per_minute=4))
        due = sandbox.seed(6)["subscription_ids"]
        clock = CustomersChangeTheirMinds(merchant, due)

        with use_clock(clock):
            ended = await merchant.sweep()

        # A few went out within ten seconds of the look; the rest were read again, and left alone.
        made = len(merchant.copies())
        assert 1 <= made <= 3
        assert ended.facts["skipped"]["cancelled"] == 6 - made
