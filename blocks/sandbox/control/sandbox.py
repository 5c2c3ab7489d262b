"""The whole sandbox: one Commerce Layer organization on one port, built from its parts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from blocks.sandbox.api.router import Router
from blocks.sandbox.api.webhooks import Webhooks
from blocks.sandbox.control.controls import Controls
from blocks.sandbox.control.market import equip_market
from blocks.sandbox.http.server import Server
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.database import Database
from blocks.sandbox.shop.list_lag import lag_lists
from blocks.sandbox.shop.scheduler import Scheduler
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine
from blocks.sandbox.shop.timekeeping import Timekeeper
from blocks.sandbox.shop.virtual_clock import Clock


class Sandbox:
    """A shop whose state is in a database file, with the API and the controls."""

    def __init__(self, settings: Settings, path: Path, clock: Clock) -> None:
        database = Database(path, seed=settings.seed, durable=settings.durable)
        self.shop = Shop(settings, database, clock, Scheduler(clock, database.transaction))
        equip_market(self.shop)
        self.timekeeper = Timekeeper(self.shop)
        self.webhooks = Webhooks(self.shop)
        self.shop.publish, self.shop.publish_again = self.webhooks.publish, self.webhooks.publish_again
        self.engine = NativeEngine(self.shop)
        self.engine.resume()
        self.server = Server(self.shop, self.timekeeper, Router(self.shop, self.engine).answer)
        controls = Controls(self.shop, self.timekeeper, self.engine, self.webhooks, self.server)
        self.server.mount("/_sandbox", controls.answer)

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen, run what is due even if no request comes, and let lists lag if the settings say so."""
        listening = await self.server.listen(host, port)
        self.timekeeper.start()
        lag_lists(self.shop, self.shop.settings.list_lag_seconds)
        return listening

    async def close(self) -> None:
        """Stop timers, end connections and close the database."""
        self.timekeeper.stop()
        self.server.close_connections()
        await self.webhooks.close()
        self.shop.database.close()
