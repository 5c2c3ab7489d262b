"""
The alarms: automations of the Prefect server, made and updated by name.

They tell a person what the server itself can see. What it cannot see, because it is down or nothing is planned at all,
is found from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows.cli.notification import Recipient

SWEEP = "renew-subscriptions/renew-subscriptions"
"""The deployment of the sweep."""

WATCH = "watch-renewals/watch-renewals"
"""The deployment of the watch."""

POOL = "perennial"
"""The work pool of the deployments."""

_FLOWS = ["renew-subscriptions", "renew-batch", "watch-renewals"]
_FAILED = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"}
_ENDED = _FAILED | {"prefect.flow-run.Completed", "prefect.flow-run.Cancelled"}

_LOOKED_AHEAD = timedelta(days=8)
"""How far a schedule is looked at for its longest interval: more than a week, so that every weekend counts."""

_AT_LEAST, _AT_MOST = 20, 12_000
"""Dates of a schedule that are looked at; 12,000 are eight days of one a minute."""

_AT_ONCE = 500
"""Dates to ask for at once; Prefect tries no more than 1,000."""


@dataclass(frozen=True)
class Times:
    """When it is too late: `interval` is the longest time between two sweeps, `stuck_after` how long a run may take."""

    interval: timedelta = timedelta(minutes=15)
    stuck_after: timedelta = timedelta(hours=4)


@dataclass(frozen=True)
class Alarm:
    """One automation. `text` is the Jinja expression of what a person reads."""

    name: str
    description: str
    trigger: EventTrigger
    text: str

    def automation(self, recipient: Recipient, *, enabled: bool = True) -> AutomationCore:
        """As Prefect knows it."""
        return AutomationCore(
            name=self.name,
            description=self.description,
            enabled=enabled,
            tags=["perennial"],
            trigger=self.trigger,
            actions=[recipient.action(self.name, self.text)],
        )


def alarms(times: Times) -> tuple[Alarm, ...]:
    """All of them."""
    return (*_of_sweeps(times), *_of_what_they_need())


_OF_A_RUN = '"Perennial: " ~ event.resource["prefect.resource.name"] ~ '


def _of_sweeps(times: Times) -> tuple[Alarm, ...]:
    return (
        Alarm(
            "perennial: a sweep failed",
            "A person must act, or the sweep could not work: its message says what to do.",
            _trigger(expect=_FAILED, match_related=_of_flows(_FLOWS)),
            _OF_A_RUN + '" failed: " ~ event.resource["prefect.state-message"]',
        ),
        Alarm(
            "perennial: no sweep started",
            "The schedule is off, the worker is gone, or the scheduler does not work.",
            _trigger(
                expect={"prefect.flow-run.Running"},
                match_related=_of_flows(_FLOWS[:1]),
                posture=Posture.Proactive,
                within=2 * times.interval,
            ),
            f'"Perennial: no sweep has started for {_in_words(2 * times.interval)}: look at the schedule of '
            f'renew-subscriptions and at the worker of the pool {POOL}; perennial setup --check says what is wrong"',
        ),
        Alarm(
            "perennial: a run is stuck",
            "It is running for longer than any should: its process may have died.",
            _trigger(
                after={"prefect.flow-run.Running"},
                expect=_ENDED,
                for_each={"prefect.resource.id"},
                match_related=_of_flows(_FLOWS),
                posture=Posture.Proactive,
                within=times.stuck_after,
            ),
            _OF_A_RUN + f'" is running for more than {_in_words(times.stuck_after)}: if its process is dead, '
            'set it to Crashed; the next sweep renews what it left"',
        ),
    )


def _of_what_they_need() -> tuple[Alarm, ...]:
    return (
        Alarm(
            "perennial: no worker polls the pool",
            "Nothing runs until a worker is started.",
            _trigger(
                expect={"prefect.work-pool.not-ready"},
                match={"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": POOL},
            ),
            f'"Perennial: no worker polls the pool {POOL}: prefect worker start --pool {POOL}"',
        ),
        Alarm(
            "perennial: charging is stopped",
            "A person has stopped charging, or the switch cannot be read.",
            _trigger(expect={"perennial.charging.stopped"}, match={"prefect.resource.id": "perennial.shop.*"}),
            '"Perennial: " ~ event.payload["sentence"] ~ "; perennial go starts it again"',
        ),
    )


def _trigger(
    *,
    expect: set[str],
    after: set[str] | None = None,
    for_each: set[str] | None = None,
    match: dict[str, str | list[str]] | None = None,
    match_related: dict[str, str | list[str]] | None = None,
    posture: Posture = Posture.Reactive,
    within: timedelta = timedelta(0),
) -> EventTrigger:
    # All of it is said, also what is Prefect's default: an update sends only what is set.
    return EventTrigger.model_validate(
        {
            "type": "event",
            "expect": expect,
            "after": after or set(),
            "for_each": for_each or set(),
            "match": match or {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": match_related or {},
            "posture": posture,
            "threshold": 1,
            "within": within,
        }
    )


def _of_flows(names: list[str]) -> dict[str, str | list[str]]:
    return {"prefect.resource.role": "flow", "prefect.resource.name": names}


def _in_words(time: timedelta) -> str:
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    return f"{minutes} minutes" if not seconds else f"{int(time.total_seconds())} seconds"


async def make_alarms(prefect: PrefectClient, recipient: Recipient, times: Times) -> dict[str, str]:
    """
    Make the automations that are missing, and update those that are otherwise. Returns what was done, by name.

    One that a person has switched off stays so.
    """
    done = {}
    for alarm in alarms(times):
        found = await prefect.read_automations_by_name(alarm.name)
        if not found:
            await prefect.create_automation(alarm.automation(recipient))
            done[alarm.name] = "made"
            continue
        wanted = alarm.automation(recipient, enabled=found[0].enabled)
        done[alarm.name] = "as it should be"
        if not is_as(found[0], wanted):
            await prefect.update_automation(found[0].id, wanted)
            done[alarm.name] = "updated"
    return done


def is_as(found: Automation, wanted: AutomationCore) -> bool:
    """Whether an automation is as the code makes it; whom it notifies does not matter."""
    return (found.trigger, found.actions, found.description) == (wanted.trigger, wanted.actions, wanted.description)


async def times_of(prefect: PrefectClient) -> Times:
    """The times that fit the schedule of the sweep; the default ones as long as it is not deployed."""
    try:
        deployment = await prefect.read_deployment_by_name(SWEEP)
    except ObjectNotFound:
        return Times()
    interval = await longest_interval(deployment.schedules, datetime.now(UTC))
    return Times(interval) if interval else Times()


async def longest_interval(schedules: Sequence[DeploymentSchedule], since: datetime) -> timedelta | None:
    """The longest time between two of the next dates of the active ones; None when there are no two."""
    found = [await _dates_of(each.schedule, since) for each in schedules if each.active]
    # As far as all of them are known: beyond the last date of a frequent one, only a rare one seems to be left.
    known_until = min((dates[-1] for dates, goes_on in found if goes_on), default=None)
    dates = sorted({date for dates, _ in found for date in dates if known_until is None or date <= known_until})
    return max((later - earlier for earlier, later in pairwise(dates)), default=None)


async def _dates_of(schedule: Any, since: datetime) -> tuple[list[datetime], bool]:
    """The next dates, until one is beyond what is looked at; and whether there are more."""
    # By the server's own classes, because only they know the dates.
    kinds: dict[str, Any] = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
    kind = next((kind for field, kind in kinds.items() if hasattr(schedule, field)), None)
    if kind is None:
        return [], False
    known = kind.model_validate(schedule.model_dump())
    dates: list[datetime] = []
    many = _AT_LEAST
    while len(dates) < _AT_LEAST or (dates[-1] <= since + _LOOKED_AHEAD and len(dates) < _AT_MOST):
        start = dates[-1] + timedelta(seconds=1) if dates else since
        more = await known.get_dates(many, start=start)
        # As plain ones: the difference of Prefect's own is no plain timedelta on every Python.
        dates += [datetime.fromtimestamp(each.timestamp(), UTC) for each in more]
        if len(more) < many:
            return dates, False
        many = _AT_ONCE
    return dates, True
