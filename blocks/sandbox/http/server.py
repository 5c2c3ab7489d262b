"""The HTTP server: what happens to a request between the socket and the API."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache

from blocks.sandbox.http.connection import HttpConnection
from blocks.sandbox.http.cross_origin import allow_origin
from blocks.sandbox.http.error_documents import error_response
from blocks.sandbox.http.fault_responses import faulty
from blocks.sandbox.http.faults import Fault, Faults
from blocks.sandbox.http.late_requests import LateRequests
from blocks.sandbox.http.limits import Limits, throttled
from blocks.sandbox.http.messages import Request, Response
from blocks.sandbox.http.standard_headers import StandardHeaders
from blocks.sandbox.http.tokens import Tokens
from blocks.sandbox.shop.problems import Problem, not_found, problem
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.timekeeping import Timekeeper

_LOG = logging.getLogger(__name__)


class Server:
    """
    Answers requests. Each goes through the rate limits, the faults, the check of its token, and then `api`.

    Requests to a mounted path skip all of these.
    """

    def __init__(self, shop: Shop, timekeeper: Timekeeper, api: Callable[[Request], Response]) -> None:
        self._shop = shop
        self._timekeeper = timekeeper
        self._api = api
        self._mounted: list[tuple[str, Callable[[Request], Response]]] = []
        self._connections: set[HttpConnection] = set()
        self._late_requests = LateRequests(shop, self._answer_now)
        self._standard_headers = StandardHeaders(shop.settings.seed)
        self.tokens = Tokens(shop)
        self.limits = Limits(shop.settings, lambda: shop.now().timestamp())
        self.faults = Faults(shop.settings.seed)
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """How many requests were answered, by method, endpoint and status."""

    def mount(self, path: str, answer: Callable[[Request], Response]) -> None:
        """Let `answer` answer the requests to this path and below."""
        self._mounted.append((path, answer))

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Listen; port 0 takes a free one."""
        return await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self.handle, self._connections), host, port, backlog=1024
        )

    def close_connections(self) -> None:
        """End all connections now."""
        for connection in list(self._connections):
            connection.close()

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request. Only the answer of a fault may have to be awaited."""
        try:
            return self._handle(request)
        except Exception:  # noqa: BLE001  even after a bug of ours the caller gets an answer
            return _internal_error(request)

    def _handle(self, request: Request) -> Response | Awaitable[Response]:
        self._timekeeper.catch_up()
        for path, answer in self._mounted:
            if request.path.startswith(path):
                return answer(request)
        admission = self.limits.admit(request)
        if not admission.passes:
            return self._counted(request, throttled(admission.headers))
        fault = self.faults.next_for(request)
        if fault is not None:
            return self._handle_with_fault(request, fault, admission.headers)
        response = self._answer(request)
        response.headers |= admission.headers
        return self._counted(request, response)

    async def _handle_with_fault(self, request: Request, fault: Fault, headers: dict[str, str]) -> Response:
        try:
            response = await self._answer_with_fault(request, fault, headers)
        except Exception:  # noqa: BLE001  as above
            return _internal_error(request)
        return self._counted(request, response)

    async def _answer_with_fault(self, request: Request, fault: Fault, headers: dict[str, str]) -> Response:
        if fault.action == "throttle":
            return throttled({**headers, "X-Ratelimit-Remaining": "0"})
        if fault.action == "late":
            response = await self._late_requests.answer(request, fault)
            response.headers |= headers
            return response
        if fault.action == "revoke":
            self.tokens.revoke_all()
        if fault.action == "delay" and fault.when == "before":
            await asyncio.sleep(fault.seconds)
            self._timekeeper.catch_up()
        carried_out = fault.when == "after" or fault.action in {"delay", "revoke"}
        response = self._answer(request) if carried_out else Response(0)
        response.headers |= headers
        if fault.action == "delay" and fault.when == "after":
            await asyncio.sleep(fault.seconds)
        return faulty(fault, response)

    def _answer(self, request: Request) -> Response:
        """The response without faults and limits."""
        seconds = self._shop.settings.late_creations
        if seconds and (request.method, request.path.rstrip("/")) == ("POST", "/api/order_copies"):
            return self._late_requests.accept(request, seconds)
        return self._answer_now(request)

    def _answer_now(self, request: Request, *, authorized: bool = False) -> Response:
        """The response to a request that is carried out now; `authorized`: its token was checked before."""
        try:
            response = self._routed(request, authorized=authorized)
        except Problem as refused:
            response = error_response(refused)
        if request.path.startswith("/api/"):
            self._standard_headers.add(request, response)
        allow_origin(request, response)
        return response

    def _routed(self, request: Request, *, authorized: bool) -> Response:
        if request.path.startswith(("/oauth/", "/.well-known/")):
            return self.tokens.answer(request)
        if not request.path.startswith("/api/"):
            raise not_found()
        if not authorized and request.method != "OPTIONS":  # a browser asks for permission without a token
            self.tokens.check(request)
        return self._api(request)

    def _counted(self, request: Request, response: Response) -> Response:
        self.requests[(request.method, endpoint_of(request.path), response.status)] += 1
        response.headers["Date"] = _date(int(self._shop.clock.now().timestamp()))
        return response


@lru_cache(8)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _internal_error(request: Request) -> Response:
    _LOG.exception("%s %s", request.method, request.path)
    return error_response(problem(500, "INTERNAL_SERVER_ERROR", "Internal server error", "A bug in the sandbox."))


def endpoint_of(path: str) -> str:
    """The path with `{id}` instead of an id, so that requests can be counted by endpoint."""
    parts = path.split("/")
    if len(parts) > 3 and parts[1] == "api":  # noqa: PLR2004  "", "api", type, id
        parts[3] = "{id}"
    return "/".join(parts)[:100]
