"""
One sweep of a large campaign, in a process of its own that may be killed at any time.

It is the sweep of `flows/renew.py` as it is, with its tasks, its reads and its writes. Prefect's engine is left out,
because it takes more time than everything else: no flow run, task run, event, artifact or log reaches a Prefect
server. The blocks are not loaded from there but given, and the stop switch is always off. `make chaos` has all that.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
from chaos.fleet_clock import ProcessClock, Work
from prefect import Task
from prefect.client.schemas.objects import State

import flows.renew
import flows.run.context
import flows.run.report
import flows.run.states
import flows.tasks.publish
from blocks.commerce_layer.clock import current_clock, use_clock
from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.rate_limit import Slot
from blocks.commerce_layer.transport import Answered, Unanswered
from blocks.commerce_layer.wire import Wire
from blocks.renewal_policy import RenewalPolicy
from flows.rules.stop_switch import CHARGING_IS_ON
from flows.run.context import Unreachable
from flows.run.stop_switch import SharedSwitch

RUN_ID, RUN_NAME = "PREFECT__RUNTIME__FLOW_RUN__ID", "PREFECT__RUNTIME__FLOW_RUN__NAME"
"""Variables by which Prefect lets tests say what `prefect.runtime` answers outside of a flow run."""

SLOWEST = 3.0
"""Seconds of the sandbox's time that a slow request, or a slow answer, takes at most."""


@dataclass(frozen=True)
class Death:
    """How a sweep is killed, if it gets that far."""

    at_request: int | None = None
    """SIGKILL at this request of the sweep, counted from 1."""
    when: str = "before"
    """`before` the request is sent, or `after` its answer was received."""
    cpu_seconds: float | None = None
    """Killed by the system once it has used so much CPU time: at any instruction."""

    @property
    def name(self) -> str:
        """The name under which it is counted."""
        return "at any instruction" if self.cpu_seconds is not None else f"{self.when} a request"


@dataclass(frozen=True)
class SweepPlan:
    """One sweep. The seed decides which of its requests are slow."""

    flow_run_id: str
    seed: str
    starts_after: float = 0.0
    """Seconds of the sandbox's time."""
    death: Death | None = None
    slow: float = 0.0
    """Share of the requests, and of the answers, that take up to `SLOWEST` on their way."""


def sweep(plan: SweepPlan, credentials: CommerceLayerCredentials, policy: RenewalPolicy) -> Work:
    """
    The work of one sweep.

    Its result says how the sweep `ended` (the state's name, or the exception that it raised), and which exceptions were
    `unexpected`, by type: those that no rule knows, in it or in one of its renewals.
    """

    async def work(clock: ProcessClock) -> dict[str, Any]:
        await clock.sleep(plan.starts_after)
        os.environ[RUN_ID] = os.environ[RUN_NAME] = plan.flow_run_id
        _give_blocks(credentials, policy)
        Wire._send = _counted(plan, clock)  # type: ignore[method-assign]  # in this process, which ends with the sweep
        if plan.death is not None and plan.death.cpu_seconds is not None:
            signal.setitimer(signal.ITIMER_PROF, plan.death.cpu_seconds)
        errors = _collect_errors()
        with use_clock(clock):
            try:
                state = await flows.renew.renew_subscriptions.fn()
            except (CommerceLayerError, Unreachable) as error:  # under such faults a sweep may end so
                ended = type(error).__name__
            except Exception as error:  # noqa: BLE001 - it is counted, and the campaign fails
                _logger().exception("the sweep ended unexpectedly")
                ended = type(error).__name__
            else:
                ended = str(state.name)
        return {"ended": ended, "unexpected": dict(errors.seen)}

    return work


def leave_out_prefects_engine() -> None:
    """Replace what would call a Prefect server, in this process and in those that it forks."""
    flows.run.states.run_telling_its_end = _run_without_engine
    flows.run.report.acreate_progress_artifact = _make_no_artifact
    flows.run.report.aupdate_progress_artifact = _make_no_artifact
    flows.tasks.publish.acreate_table_artifact = _make_no_artifact
    SharedSwitch._ask = _charging_is_on  # type: ignore[method-assign]  # it would ask a Prefect server
    for name, module in list(sys.modules.items()):
        if name.startswith("flows.") and hasattr(module, "emit_event"):
            module.emit_event = _emit_nothing
        if name.startswith("flows.") and hasattr(module, "get_run_logger"):
            module.get_run_logger = _logger


async def _run_without_engine(step: Task[..., Any], *args: Any, **kwargs: Any) -> State[Any]:
    state: State[Any] = await step.fn(*(each.value for each in args), **{name: it.value for name, it in kwargs.items()})
    return state


async def _make_no_artifact(*_: Any, **__: Any) -> UUID:
    return uuid4()


def _emit_nothing(*_: Any, **__: Any) -> None:
    return None


def _logger() -> logging.Logger:
    return logging.getLogger("perennial.campaign")


async def _charging_is_on(switch: SharedSwitch) -> None:
    switch._said, switch._said_at = CHARGING_IS_ON, current_clock().monotonic()
    switch._asked_at = switch._said_at


def _give_blocks(credentials: CommerceLayerCredentials, policy: RenewalPolicy) -> None:
    async def load(kind: type[Any], _: str) -> Any:
        return credentials if kind is CommerceLayerCredentials else policy

    flows.run.context.load_block = load


Send = Callable[[Wire, httpx.Request, str, Slot], Awaitable[Answered | Unanswered]]


def _counted(plan: SweepPlan, clock: ProcessClock) -> Send:
    """`Wire._send`, but some requests and answers are slow, and one may be the last."""
    real, chance, death = Wire._send, random.Random(plan.seed), plan.death
    sent = 0

    async def on_the_way() -> None:
        if chance.random() < plan.slow:
            await clock.sleep(chance.uniform(0.1, SLOWEST))

    def die_if_now(number: int, when: str) -> None:
        if death is not None and death.at_request == number and death.when == when:
            os.kill(os.getpid(), signal.SIGKILL)

    async def send(wire: Wire, request: httpx.Request, endpoint: str, slot: Slot) -> Answered | Unanswered:
        nonlocal sent
        sent = number = sent + 1
        await on_the_way()
        die_if_now(number, "before")
        with clock.request_under_way():
            answer = await real(wire, request, endpoint, slot)
        die_if_now(number, "after")
        await on_the_way()
        return answer

    return send


class _Errors(logging.Handler):
    """Counts the exceptions that a sweep logs because it did not expect them, by type."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            self.seen[record.exc_info[0].__name__] += 1
            print(self.format(record), file=sys.stderr, flush=True)


def _collect_errors() -> _Errors:
    errors, logger = _Errors(), _logger()
    logger.handlers, logger.propagate = [errors], False
    logger.setLevel(logging.WARNING)
    return errors
