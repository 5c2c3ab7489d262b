"""
The stop switch of a run: read at the start, and before each placement, where it is at most ten seconds old.

All placements of a run share one answer. If Prefect does not answer, the last answer is used for up to a minute. After
that no customer is charged, because a person may have stopped charging meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import Variable
from prefect.events import emit_event
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.logging.loggers import LoggingAdapter

from blocks.commerce_layer.clock import current_clock
from flows.rules.stop_switch import CHARGING_IS_ON, VARIABLE, StopSwitch, read_switch

READ_EVERY = 10.0
"""Seconds for which an answer is used."""

TRUSTED_FOR = 60.0
"""Seconds for which an answer is used when Prefect gives no newer one."""

ANSWERS_WITHIN = 5.0
"""Real seconds that Prefect has for its answer: placements wait for it."""


async def switch_now(prefect: PrefectClient) -> StopSwitch:
    """What the switch says now. Raises the exceptions of Prefect's client if the API cannot be used."""
    # Not read by its name: a 404 would mean that the variable does not exist, but a wrong address also answers 404.
    wanted = {"variables": {"name": {"any_": [VARIABLE]}}}
    answer = await prefect.request("POST", "/variables/filter", json=wanted)
    found = Variable.model_validate_list(answer.json())
    return read_switch(found[0].value, found[0].updated) if found else CHARGING_IS_ON


class SharedSwitch:
    """The switch, read at most once in ten seconds for all placements of one run."""

    def __init__(self, organization: str) -> None:
        self._organization = organization
        self._reading = asyncio.Lock()
        self._said: StopSwitch | None = None
        self._said_at = self._asked_at = float("-inf")
        self._announced: set[str] = set()
        self.found_stopped: StopSwitch | None = None
        """What the switch said when it first stopped this run from charging; None while it has not."""

    @property
    def is_fresh(self) -> bool:
        """Whether `look` would answer without asking Prefect."""
        return current_clock().monotonic() - self._asked_at < READ_EVERY

    async def look(self) -> StopSwitch:
        """
        What the switch says, from an answer that is at most `READ_EVERY` old.

        If Prefect does not answer, an answer up to `TRUSTED_FOR` old is used; without one, charging is stopped.
        """
        async with self._reading:
            if not self.is_fresh:
                await self._ask()
        switch = self._as_known()
        if switch.is_stopped:
            self._note(switch)
        return switch

    def _as_known(self) -> StopSwitch:
        age = current_clock().monotonic() - self._said_at
        if self._said is not None and age <= TRUSTED_FOR:
            return self._said
        known = "was never read" if self._said is None else f"was read {age:.0f} s ago for the last time"
        reason = f"Prefect's API does not answer, and the Prefect variable {VARIABLE} {known}: a person may have set it"
        return StopSwitch(is_stopped=True, reason=reason)

    async def _ask(self) -> None:
        self._asked_at = asked_at = current_clock().monotonic()
        try:
            async with asyncio.timeout(ANSWERS_WITHIN), get_client() as prefect:
                self._said = await switch_now(prefect)
        except (httpx.HTTPError, TimeoutError, RuntimeError, ValueError) as error:
            _logger().warning("the stop switch could not be read: %s", type(error).__name__)
        else:
            self._said_at = asked_at

    def _note(self, switch: StopSwitch) -> None:
        """Say once, in the log and as an event, that charging is stopped."""
        self.found_stopped = self.found_stopped or switch
        if switch.sentence in self._announced:
            return
        self._announced.add(switch.sentence)
        _logger().warning("%s; no one is charged", switch.sentence)
        # One event for each stop and day: a reminder, and not one for every sweep.
        name, today = "perennial.charging.stopped", current_clock().now().date()
        emit_event(
            event=name,
            resource={
                "prefect.resource.id": f"perennial.shop.{self._organization}",
                "prefect.resource.name": self._organization,
            },
            payload={"sentence": switch.sentence, "since": _text(switch.since)},
            id=uuid5(NAMESPACE_URL, f"{name}/{self._organization}/{switch.sentence}/{today}"),
        )


def _logger() -> logging.Logger | LoggingAdapter:
    """The run's logger; commands that only look have no run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("perennial.stop_switch")


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
