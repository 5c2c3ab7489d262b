"""
Runs flows in processes that a test may kill. It imports everything once and forks for each job, because a start takes
seconds and a fork takes almost no time.

It reads jobs as lines of JSON from standard input, and writes `{"started": pid}` and `{"ended": pid, "status": ...}`. A
job names the flow, its parameters, a file for the result, the sandbox whose clock it advances, and the point at which
it is killed or stopped, if any. The child process patches that point in: Perennial's code does not know it.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import resource
import select
import signal
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastapi  # noqa: F401 - these five imports make a first flow run half a second faster
import graphviz  # noqa: F401 - as above
import httpx
import prefect.concurrency.v1.services
import prefect.flow_engine
import prefect.task_engine  # noqa: F401 - as above
from chaos.shared_clock import following
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows.renew
import flows.reorder
import flows.rescue
import flows.sweep.pacing
import flows.tasks.record
from blocks.commerce_layer.clock import current_clock, use_clock
from blocks.commerce_layer.wire import Wire
from flows.rules.state import Outcome
from flows.run.poller import CopyPoller

Picks = Callable[..., bool]


def _always(*_: Any, **__: Any) -> bool:
    return True


def _is_creation(_: Any, request: httpx.Request, *__: Any) -> bool:
    return request.method == "POST" and request.url.path.endswith("/order_copies")


def _patches(resource: str, says: Callable[[dict[str, Any]], Any]) -> Picks:
    """A function that picks the PATCH requests to this type of resource whose attributes fit."""

    def picks(_: Any, request: httpx.Request, *__: Any) -> bool:
        if request.method != "PATCH" or request.url.path.split("/")[-2] != resource:
            return False
        return bool(says(json.loads(request.content)["data"]["attributes"]))

    return picks


def _ours(attributes: dict[str, Any]) -> dict[str, Any]:
    return (attributes.get("metadata") or {}).get("perennial") or {}


def _is_surplus(attributes: dict[str, Any]) -> bool:
    return bool(attributes.get("_cancel")) and str(_ours(attributes).get("withdrawn")).startswith("surplus")


_placement = _patches("orders", lambda says: says.get("_place"))
_announcement = _patches("order_subscriptions", lambda says: _ours(says).get("outcome") == Outcome.PLACING)
_surplus = _patches("orders", _is_surplus)
_withdrawal = _patches("orders", lambda says: says.get("_cancel") and not _is_surplus(says))
_cancellation = _patches("order_subscriptions", lambda says: says.get("_cancel"))
_anything = _patches("order_subscriptions", lambda says: says.get("metadata"))

KILL_POINTS: dict[str, tuple[Any, str, str, Picks]] = {
    "before the first look": (flows.sweep.pacing, "take_first_look", "before", _always),
    "after the first look": (flows.sweep.pacing, "take_first_look", "after", _always),
    "with a creation ready to send": (Wire, "_send", "before", _is_creation),
    "with the answer to a creation": (Wire, "_send", "after", _is_creation),
    "before it polls": (CopyPoller, "wait_for", "before", _always),
    "after it polled": (CopyPoller, "wait_for", "after", _always),
    "with a placement ready to send": (Wire, "_send", "before", _placement),
    "with the answer to a placement": (Wire, "_send", "after", _placement),
    "before the record": (flows.tasks.record, "_write_down", "before", _always),
    "after the record": (flows.tasks.record, "_write_down", "after", _always),
}
"""Points that every sweep reaches."""

RARE_KILL_POINTS: dict[str, tuple[Any, str, str, Picks]] = {
    "before it announces an attempt": (Wire, "_send", "before", _announcement),
    "after it announced an attempt": (Wire, "_send", "after", _announcement),
    "before it withdraws an order": (Wire, "_send", "before", _withdrawal),
    "after it withdrew an order": (Wire, "_send", "after", _withdrawal),
    "before it cancels a surplus order": (Wire, "_send", "before", _surplus),
    "after it cancelled a surplus order": (Wire, "_send", "after", _surplus),
    "before it cancels the subscription": (Wire, "_send", "before", _cancellation),
    "after it cancelled the subscription": (Wire, "_send", "after", _cancellation),
    "before it writes on the subscription": (Wire, "_send", "before", _anything),
    "after it wrote on the subscription": (Wire, "_send", "after", _anything),
}
"""Points that only some sweeps reach: those that continue another run's work, meet surplus copies, or cancel."""


class JumpingClock:
    """The current clock, but its time of day jumps by some seconds after a few calls."""

    def __init__(self, seconds: float, asked: int = 5) -> None:
        self._below, self._seconds, self._left = current_clock(), timedelta(seconds=seconds), asked

    def monotonic(self) -> float:
        return self._below.monotonic()

    def now(self) -> datetime:
        self._left -= 1
        return self._below.now() + (self._seconds if self._left < 0 else timedelta())

    async def sleep(self, seconds: float) -> None:
        await self._below.sleep(seconds)


class AdvancingClock:
    """A clock whose `sleep` advances the sandbox's clock and takes no real time."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._start = self._ask("GET")

    def _ask(self, method: str, body: dict[str, Any] | None = None) -> datetime:
        return datetime.fromisoformat(self._http.request(method, "/_sandbox/clock", json=body).json()["now"])

    def monotonic(self) -> float:
        return (self._ask("GET") - self._start).total_seconds()

    def now(self) -> datetime:
        return self._ask("GET").astimezone(UTC)

    async def sleep(self, seconds: float) -> None:
        self._ask("POST", {"advance": max(seconds, 0.001)})


def _kill_at(point: str, nth: int, signal_number: int) -> None:
    owner, name, when, picks = (KILL_POINTS | RARE_KILL_POINTS)[point]
    real, count = getattr(owner, name), 0

    def kill_if_reached(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += picks(*args, **kwargs)
        if count == nth and picks(*args, **kwargs):
            os.kill(os.getpid(), signal_number)

    @functools.wraps(real)
    async def patched(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            kill_if_reached(*args, **kwargs)
        answer = await real(*args, **kwargs)
        if when == "after":
            kill_if_reached(*args, **kwargs)
        return answer

    setattr(owner, name, patched)


async def _run_flow(job: dict[str, Any]) -> dict[str, Any]:
    known_flows = {
        "sweep": flows.renew.renew_subscriptions,
        "reorder": flows.reorder.reorder,
        "rescue": flows.rescue.rescue_failed_renewals,
    }
    flow = known_flows[job["flow"]]
    prefect = temporary_settings({PREFECT_API_URL: job["prefect"]}) if "prefect" in job else nullcontext()
    async with AsyncExitStack() as stack:
        if "clock" in job:
            stack.enter_context(use_clock(await stack.enter_async_context(following(job["clock"]))))
        elif job["advance_clock"]:
            stack.enter_context(use_clock(AdvancingClock(job["sandbox"])))
        stack.enter_context(use_clock(JumpingClock(job.get("clock_jumps_by", 0.0))))
        stack.enter_context(prefect)
        state: Any = await flow(**job["parameters"], return_state=True)
        facts = await state.aresult(raise_on_failure=False)
    error = repr(facts) if isinstance(facts, BaseException) else None
    known = facts if isinstance(facts, dict) else {}
    return {
        "name": state.name,
        "message": state.message,
        "error": error,
        "outcomes": dict(known.get("outcomes", {})),
        "surplus": known.get("surplus", 0),
    }


def _run_job(job: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 1
    try:
        if job.get("kill_at"):
            _kill_at(job["kill_at"], job.get("nth", 1), job.get("signal", signal.SIGKILL))
        if job.get("disk_is_full"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        result = asyncio.run(_run_flow(job))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        Path(job["result"]).write_text(json.dumps(result))
        status = 0
    except BaseException:  # noqa: BLE001 - the log shows the error
        traceback.print_exc()
    finally:
        os._exit(status)  # Prefect's threads would keep sending logs for a while


def _report(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    _report(ready=os.getpid())
    rest, children = b"", set()
    while True:
        if select.select([0], [], [], 0.02)[0]:
            some = os.read(0, 65536)
            if not some:
                break
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    os.dup2(2, 1)
                    _run_job(json.loads(line))
                children.add(pid)
                _report(started=pid)
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                children.discard(pid)
                _report(ended=pid, status=os.waitstatus_to_exitcode(status))
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
