"""The whole sandbox: what happens to a request from the socket to the answer, in one readable place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

from blocks.sandbox.api.router import Router
from blocks.sandbox.api.webhooks import Webhooks
from blocks.sandbox.control.controls import Controls
from blocks.sandbox.http import faults as faults_module
from blocks.sandbox.http.faults import Fault, Faults
from blocks.sandbox.http.limits import Limits, throttled
from blocks.sandbox.http.tokens import Tokens
from blocks.sandbox.http.wire import Delivery, HttpConnection, Request, Response
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.clock import Clock, instant_of, text_of
from blocks.sandbox.shop.database import Database
from blocks.sandbox.shop.problems import Problem, not_found, problem
from blocks.sandbox.shop.scheduler import Scheduler
from blocks.sandbox.shop.state import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine

_EARLIEST, _LATEST = 1971, 2500  # years in which frequencies, tokens and timers can still be added up
LONGEST_LAG = 86_400
_LOG = logging.getLogger(__name__)


class Sandbox:
    """One Commerce Layer organization behind one port."""

    def __init__(self, settings: Settings, database: Path, clock: Clock) -> None:
        self._connections: set[HttpConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.clock = clock
        store = Database(database, seed=settings.seed, durable=settings.durable)
        self.scheduler = Scheduler(clock, store.transaction)
        self.shop = Shop(settings, store, clock, self.scheduler)
        self._restore_clock()
        self.webhooks = Webhooks(self.shop)
        self.shop.announce, self.shop.fire = self.webhooks.announce, self.webhooks.fire
        self.engine = NativeEngine(self.shop)
        self.engine.resume()
        self.tokens = Tokens(self.shop)
        self.limits = Limits(settings, lambda: self.shop.now().timestamp())
        self.faults = Faults(settings.seed)
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.controls = Controls(self)
        self._api = Router(self.shop, self.engine)

    # Life

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; port 0 takes a free one. What waits on the scheduler now also happens without requests."""
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(
            lambda: HttpConnection(self.handle, self._connections), host, port, backlog=1024
        )
        self.scheduler.on_change = self._set_timer
        self._set_timer()
        self.lag_lists(self.shop.settings.list_lag_seconds)
        return server

    async def close(self) -> None:
        """Stop timers, end connections and close the database."""
        if self._timer is not None:
            self._timer.cancel()
        self.scheduler.on_change = lambda: None
        for connection in list(self._connections):
            connection.close()
        await self.webhooks.close()
        self.shop.database.close()

    # Time

    def catch_up(self) -> None:
        """Let happen what is due by now."""
        if self.scheduler.is_due():
            self._run_until(None)

    def advance(self, seconds: float) -> int:
        """Move the clock forward, everything due on the way happening in order; returns how many things did."""
        return self.move_to(self.clock.now() + timedelta(seconds=seconds))

    def move_to(self, instant: datetime) -> int:
        """
        Set the clock. Forward everything due on the way happens; backward nothing does.

        Raises:
            ValueError: a year in which little works.
        """
        if not _EARLIEST <= instant.year <= _LATEST:
            raise ValueError(f"{instant} is not between the years {_EARLIEST} and {_LATEST}")
        if instant >= self.clock.now():
            return self._run_until(instant)
        self.clock.set(instant)
        self.save_clock()
        return 0

    def save_clock(self) -> None:
        """Remember the clock for a restart, and wait for the next due instant by its new reading."""
        self.shop.database.set_state("clock", f"{text_of(self.clock.now())} {self.clock.rate} {time.time()}")
        self._set_timer()

    def _run_until(self, target: datetime | None) -> int:
        try:
            with self.shop.database.transaction():
                ran = self.scheduler.run_until(target or self.clock.now())
                if target is not None:
                    self.clock.set(target)
                    self.save_clock()
        finally:
            self._set_timer()  # whatever went wrong: what is due later still comes
        return ran

    def _restore_clock(self) -> None:
        """Go on as if the clock had run while the sandbox was down."""
        kept = self.shop.database.state("clock", "")
        if not kept:
            self.save_clock()
            return
        instant, rate, kept_at = kept.split(" ")
        passed = timedelta(seconds=(time.time() - float(kept_at)) * float(rate))
        self.clock.set(instant_of(instant) + max(passed, timedelta()))
        self.clock.run_at(float(rate))

    def _set_timer(self) -> None:
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.scheduler.next_instant()
        seconds = None if due is None else self.clock.real_seconds_until(due)
        if seconds is not None:
            self._timer = self._loop.call_later(min(seconds, 3600.0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._run_until(None)

    def lag_lists(self, seconds: float, resource_types: Collection[str] | None = None) -> None:
        """
        Let lists, all or those of these types, show what was there so many seconds ago; 0 ends it.

        Raises:
            ValueError: a negative time, or one that is longer than anybody means; or an unknown type.
        """
        if not 0 <= seconds <= LONGEST_LAG:
            raise ValueError(f"list_lag_seconds is {seconds!r}; it lies between 0 and {LONGEST_LAG}")
        listed = {kind.name for kind in RESOURCE_TYPES.values() if "l" in kind.actions}
        for name in resource_types or ():
            if name not in listed:
                raise ValueError(f"resources: {name!r} is not known; lists are {', '.join(sorted(listed))}")
        self.shop.database.lag_lists(seconds, frozenset(resource_types or listed), self.scheduler)

    # Requests

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request; only a fault makes anyone wait."""
        try:
            return self._handle(request)
        except Exception:  # noqa: BLE001  the one place where a bug of ours is turned into an answer
            _LOG.exception("%s %s", request.method, request.path)
            return problem(500, "INTERNAL_SERVER_ERROR", "Internal server error", "A bug in the sandbox.").response()

    def _handle(self, request: Request) -> Response | Awaitable[Response]:
        self.catch_up()
        if request.path.startswith("/_sandbox"):
            return self.controls.answer(request)
        admission = self.limits.admit(request)
        if not admission.passes:
            return self._counted(request, throttled(admission.headers))
        fault = self.faults.next_for(request)
        if fault is not None:
            return self._answer_with_fault(request, fault, admission.headers)
        response = self._answer(request)
        response.headers |= admission.headers
        return self._counted(request, response)

    def _answer(self, request: Request, *, authorized: bool = False) -> Response:
        try:
            if request.path.startswith(("/oauth/", "/.well-known/")):
                return self.tokens.answer(request)
            if not request.path.startswith("/api/"):
                raise not_found()
            if not authorized:
                self.tokens.check(request)
            return self._api.answer(request)
        except Problem as refused:
            return refused.response()

    def _carry_out_as_of(self, arrived_at: str, ids: list[str], request: Request) -> Response:
        with self.shop.as_of(arrived_at), self.shop.database.with_ids(ids):
            return self._answer(request, authorized=True)

    async def _answer_late(self, request: Request, fault: Fault) -> Response:
        """Carry the request out later, and answer when and as the fault says."""
        carry_out: Callable[[], Response] = partial(self._answer, request)
        expected = Response(0)
        if fault.stamp == "arrival":
            arrived_at = self.shop.now_text()
            with self.shop.database.dry_run() as ids:
                expected = self._answer(request)
            if expected.status >= 400:  # noqa: PLR2004  refused on arrival: there is nothing left to carry out
                response = self._answer(request)
                return Response(response.status, delivery=Delivery.RESET) if fault.answer == "lost" else response
            carry_out = partial(self._carry_out_as_of, arrived_at, ids, request)
        committed: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.shop.after(fault.seconds, lambda: committed.set_result(carry_out()))
        if fault.answer == "at_commit":
            return await committed
        return expected if fault.answer == "at_once" else Response(expected.status, delivery=Delivery.RESET)

    async def _answer_with_fault(self, request: Request, fault: Fault, headers: dict[str, str]) -> Response:
        if fault.action == "throttle":
            return self._counted(request, throttled({**headers, "X-Ratelimit-Remaining": "0"}))
        if fault.action == "revoke":
            self.tokens.revoke_all()
        if fault.action == "late":
            response = await self._answer_late(request, fault)
            response.headers |= headers
            return self._counted(request, response)
        if fault.action == "delay" and fault.when == "before":
            await asyncio.sleep(fault.seconds)
            self.catch_up()
        carried_out = fault.when == "after" or fault.action in {"delay", "revoke"}
        response = self._answer(request) if carried_out else Response(0)
        response.headers |= headers
        if fault.action == "delay" and fault.when == "after":
            await asyncio.sleep(fault.seconds)
        return self._counted(request, faults_module.apply(fault, response))

    def _counted(self, request: Request, response: Response) -> Response:
        self.requests[(request.method, endpoint_of(request.path), response.status)] += 1
        response.headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        return response


def endpoint_of(path: str) -> str:
    """The path with `{id}` instead of an id, so that requests can be counted by endpoint."""
    parts = path.split("/")
    if len(parts) > 3 and parts[1] == "api":  # noqa: PLR2004  "", "api", type, id
        parts[3] = "{id}"
    return "/".join(parts)[:100]
