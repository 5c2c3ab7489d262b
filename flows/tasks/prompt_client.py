"""A Prefect client that tells at once when the API is busy, and a clock that a stopped process cannot fool."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect.client.orchestration import PrefectClient, get_client

PROMPT_FOR = 30.0
"""Seconds for which a busy Prefect API is asked again: a server on two busy cores was seen to be busy for twelve."""

REQUEST_TIMEOUT = 10.0
"""Seconds for one request to Prefect's API: less than half of what the fence allows."""

REFUSED = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers to a request that was not carried out: a server on SQLite takes back what it began, a rate limit lets
nothing begin. (On PostgreSQL a 503 may also mean a connection that was lost while the work was being committed.)"""

LOST = REFUSED | {HTTPStatus.BAD_GATEWAY}
"""The same, and that of a proxy which got no answer: the server may have done everything, or may be about to."""

P = ParamSpec("P")
T = TypeVar("T")


def passed() -> float:
    """Seconds that go on counting while a process is stopped and while the machine is suspended."""
    # Linux counts suspended time in CLOCK_BOOTTIME only, macOS in its CLOCK_MONOTONIC.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(time, name):
            return time.clock_gettime(getattr(time, name))
    return time.monotonic()


async def promptly(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Call Prefect's API; when it is busy, call again after a fraction of a second, for `PROMPT_FOR` seconds.

    Only for what may be done twice: reading, writing a value that does not depend on the one before, creating what can
    exist only once. Taking a slot is among them: done unseen, it keeps the second try out, and everybody else, until
    its lease is over. Giving one back is not (`when_refused`), still less freeing one that is nobody's.
    """
    return await _again_after(LOST, lambda: call(*args, **kwargs))


async def when_refused(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for what had better not be done twice: called again only when it was certainly not carried out."""
    return await _again_after(REFUSED, lambda: call(*args, **kwargs))


async def _again_after(answers: Collection[int], call: Callable[[], Awaitable[T]]) -> T:
    deadline = passed() + PROMPT_FOR
    while True:
        try:
            return await call()
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in answers or passed() >= deadline:
                raise
        await asyncio.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - spreads those who meet


@asynccontextmanager
async def prompt_client() -> AsyncIterator[PrefectClient]:
    """
    A Prefect client of our own that tells at once when the API is busy.

    The usual one sleeps 2, 4, 8 s after a 503. That is what a server on SQLite answers whenever two writes
    meet, which they do all the time during a sweep. And whether to repeat is for the caller to say: see `promptly`.
    """
    async with get_client(httpx_settings={"timeout": REQUEST_TIMEOUT}) as api:
        http: Any = api._client  # noqa: SLF001 - there is no public way; without it, it would only be slower

        async def send_once(request: httpx.Request, send: Any, send_args: Any, send_kwargs: Any, **_: Any) -> Any:
            if http.enable_csrf_support and request.method != "GET":
                await http._add_csrf_headers(request=request)  # noqa: SLF001
            return await send(request, *send_args, **send_kwargs)

        http._send_with_retry = send_once  # noqa: SLF001
        yield api
