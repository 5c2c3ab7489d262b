"""
Rate limits: sliding windows per source address, as documented and as recorded.

Each class of requests has two windows: 60 seconds over all its endpoints (shown in the headers) and 10 seconds per
endpoint (not shown). `limit_scale` shortens both; the header then shows the scaled interval, rounded up to whole
seconds, so that a caller that waits that long has waited long enough.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from blocks.sandbox.http.messages import Request, Response
from blocks.sandbox.settings import Settings

AVERAGE_SECONDS = 60.0
BURST_SECONDS = 10.0

# Average and burst per class, live; test mode has half of them, except for the token endpoint.
# Source: docs, rate limits; the SDK utilities' comment block; recorded headers of test mode.
_LIVE = {"token": (30, 30), "cacheable": (1000, 250), "read": (200, 50), "write": (200, 50)}
_TEST = {"token": (30, 30), "cacheable": (500, 125), "read": (100, 25), "write": (100, 25)}

CACHEABLE = frozenset(
    [
        "bundles",
        "imports",
        "markets",
        "prices",
        "price_lists",
        "promotions",
        "buy_x_pay_y_promotions",
        "external_promotions",
        "fixed_amount_promotions",
        "fixed_price_promotions",
        "free_gift_promotions",
        "free_shipping_promotions",
        "percentage_discount_promotions",
        "skus",
        "sku_options",
        "stock_items",
        "stock_locations",
        "inventory_models",
    ]
)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass, and the headers that its answer carries."""

    passes: bool
    headers: dict[str, str]


class Limits:
    """Counts requests and refuses those beyond the limit."""

    def __init__(self, settings: Settings, virtual_now: Callable[[], float]) -> None:
        self._figures = _LIVE if settings.mode == "live" else _TEST
        self._off = settings.limits == "off"
        self._per_method = settings.write_counters == "per-method"
        self._count_blocked = settings.count_blocked
        self._average_seconds = AVERAGE_SECONDS * settings.limit_scale
        self._burst_seconds = BURST_SECONDS * settings.limit_scale
        self._now = virtual_now if settings.limit_clock == "virtual" else time.monotonic
        self._averages: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._bursts: defaultdict[tuple[str, str, str], deque[float]] = defaultdict(deque)
        self.blocked = 0

    def admit(self, request: Request) -> Admission:
        """Count one request, unless limits are off; OPTIONS is in none of the documented classes."""
        if self._off or request.method == "OPTIONS" or request.path.startswith("/.well-known/"):
            return _FREE
        kind, endpoint = self._classify(request)
        limit, burst_limit = self._figures[kind]
        counter = f"{kind}:{request.method}" if kind == "write" and self._per_method else kind
        now = self._now()
        average = _recent(self._averages[(request.peer, counter)], now, self._average_seconds)
        burst = _recent(self._bursts[(request.peer, counter, endpoint)], now, self._burst_seconds)
        passes = len(average) < limit and (kind == "token" or len(burst) < burst_limit)
        if passes or self._count_blocked:
            average.append(now)
            burst.append(now)
        self.blocked += not passes
        return Admission(passes, self._headers(limit, max(0, limit - len(average))))

    def reset(self) -> None:
        """Start with empty windows."""
        self._averages.clear()
        self._bursts.clear()

    def _headers(self, limit: int, remaining: int) -> dict[str, str]:
        return {
            "X-Ratelimit-Limit": str(limit),
            "X-Ratelimit-Interval": str(math.ceil(self._average_seconds)),
            "X-Ratelimit-Remaining": str(remaining),
        }

    def _classify(self, request: Request) -> tuple[str, str]:
        if request.path.startswith("/oauth/"):
            return "token", request.path
        resource = request.path.split("/", 3)[2] if request.path.count("/") > 1 else ""
        if request.method not in {"GET", "HEAD"}:
            return "write", resource
        return ("cacheable" if resource in CACHEABLE else "read"), resource


_FREE = Admission(passes=True, headers={})


def _recent(arrivals: deque[float], now: float, seconds: float) -> deque[float]:
    while arrivals and arrivals[0] <= now - seconds:
        arrivals.popleft()
    while arrivals and arrivals[-1] > now:  # the clock was set back behind them
        arrivals.pop()
    return arrivals


def throttled(headers: dict[str, str]) -> Response:
    """
    The 429 of the CDN, as recorded: `errors` is an object, `status` a number, and `Retry-After` is 0.

    Of `headers` it has only those of the limits: the request does not reach what adds the others.
    """
    body = {"errors": {"title": "Too Many Requests", "code": "THROTTLED", "status": 429}}
    extra = {"Cache-Control": "no-cache", "Retry-After": "0", "Access-Control-Allow-Origin": "*"}
    return Response(429, orjson.dumps(body), "application/json; charset=utf-8", {**_of_limits(headers), **extra})


def _of_limits(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("X-Ratelimit-")}
