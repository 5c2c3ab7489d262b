"""Sends one HTTP request, and says whether anything was sent, however it ends.

httpx's exceptions are sorted by this one question, and never leave this module: they hold the
request, and with it tokens and secrets.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from blocks.commerce_layer.rate_limit import Slot

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for the parts of one request; `whole` bounds all of them together."""

    connect: float = 5.0
    write: float = 10.0
    read: float = 20.0
    pool: float = 5.0
    whole: float = 45.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A usable answer: any 2xx or 4xx, except 408, which means that the server stopped waiting."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No usable answer came. `sent` is False only if certainly nothing was sent."""

    reason: str
    sent: bool


class Transport:
    """
    A pool of connections, a third of which is for reads.

    The two kinds do not wait for each other: a write that holds a connection may have to read before it is sent.
    """

    def __init__(self, timeouts: Timeouts, connections: int, *, use_proxies: bool) -> None:
        self.answered_at: datetime | None = None
        self._whole = timeouts.whole
        # The pool would make a write wait for a connection after its body was composed. These semaphores wait before.
        for_reads = max(1, connections // 3)
        self._reads, self._writes = asyncio.Semaphore(for_reads), asyncio.Semaphore(max(1, connections - for_reads))
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(
                connect=timeouts.connect, write=timeouts.write, read=timeouts.read, pool=timeouts.pool
            ),
            # If the server closes an idle connection, it is unclear whether the next POST was carried out.
            # So we close idle connections well before any server does.
            limits=httpx.Limits(
                max_connections=connections + 1,  # one for a token request, which a holder may wait for
                max_keepalive_connections=connections + 1,
                keepalive_expiry=4.0,
            ),
            headers={"User-Agent": f"perennial/{_version()}"},
            trust_env=use_proxies,
        )
        self.build = self._http.build_request

    def connection(self, method: str) -> asyncio.Semaphore:
        """The semaphore to hold while a request with this method is sent."""
        return self._reads if method == "GET" else self._writes

    async def send(self, request: httpx.Request, slot: Slot) -> Answered | Unanswered:
        """Send once, and tell the slot whether it was sent and how it was answered."""
        slot.sent()
        try:
            async with asyncio.timeout(self._whole):
                response = await self._http.send(request)
        except _NOT_SENT as error:
            slot.not_sent()
            return Unanswered(_words(error), sent=False)
        except (httpx.HTTPError, TimeoutError) as error:
            return Unanswered(_words(error), sent=True)
        slot.observe(response.status_code, response.headers)
        self.answered_at = _date(response) or self.answered_at
        if response.is_success or (response.is_client_error and response.status_code != HTTPStatus.REQUEST_TIMEOUT):
            return Answered(response.status_code, response.content)
        return Unanswered(f"answered {response.status_code}", sent=True)

    async def close(self) -> None:
        """Close the connections; requests that still run fail."""
        await self._http.aclose()


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, even one such as 127.example.com
        return False


def _date(response: httpx.Response) -> datetime | None:
    """The answer's `Date`; None if there is none, or if it has no zone or cannot be read."""
    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(response.headers.get("Date", ""))
        return moment if moment.tzinfo else None
    return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _version() -> str:
    try:
        return version("perennial")
    except PackageNotFoundError:  # running from a checkout that was never installed
        return "0"
