"""Why a subscription is due or not, when it will be, and what may surprise: for people who ask."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy_terms import FailureClass, PolicyOverrideInvalid, PolicyTerms
from flows.rules.frequencies import Crontab, Every, restricts_days_twice
from flows.rules.periods import Schedule, UnknownFrequency
from flows.rules.references import whole_minute
from flows.rules.renewal import Renewal, Skipped, plan
from flows.rules.retries import calendar_of_retries
from flows.rules.state import RenewalState
from flows.rules.zones import in_words, wall_of

DATES_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Why a subscription is due or not at an instant.

    `next_dates` are the calendar's next 24 dates, UTC; `retry_calendar` the attempts of a renewal
    that keeps failing, if its first attempt were made at `as_of`, UTC.
    """

    subscription_id: str
    as_of: datetime
    is_due: bool
    sentence: str
    terms: PolicyTerms
    next_dates: tuple[datetime, ...]
    retry_calendar: dict[FailureClass, tuple[datetime, ...]]
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        """The explanation for a terminal or a note: plain lines."""
        return "\n".join([
            f"{self.subscription_id}: {self.sentence}",
            *[f"  ! {warning}" for warning in self.warnings],
            *_block("next dates", [_dated(date, self.terms) for date in self.next_dates]),
            *_block("if the attempt made now fails, and goes on failing", self._retry_lines()),
        ])  # fmt: skip

    def _retry_lines(self) -> list[str]:
        return [
            f"{cls:<10} {', then '.join(_dated(moment, self.terms) for moment in moments[1:]) or 'no retry'}"
            f", then {self.terms.final_action_for(cls).value.replace('_', ' ')}"
            for cls, moments in self.retry_calendar.items()
        ]


def explain(
    subscription: OrderSubscription, terms: PolicyTerms, as_of: datetime, instance: str | None = None
) -> Explanation:
    """Why `subscription` is due or not at `as_of` under `terms`; never raises for what a shop may contain."""
    answer = plan(subscription, terms, as_of, instance)
    own = _own_terms(subscription, terms)
    schedule = _schedule(subscription, own)
    dates = tuple(schedule.upcoming(as_of, DATES_SHOWN)) if schedule else ()
    if subscription.expires_at is not None:
        dates = tuple(date for date in dates if date < subscription.expires_at)
    retries = {cls: tuple(calendar_of_retries(own, cls, whole_minute(as_of))) for cls in FailureClass}
    warnings = (*_said(answer), *(_traps(schedule, dates) if schedule else ()), *_overlong(retries, dates))
    return Explanation(
        subscription.id, as_of, isinstance(answer, Renewal), _sentence(answer, own), own, dates, retries, warnings
    )


def _own_terms(subscription: OrderSubscription, terms: PolicyTerms) -> PolicyTerms:
    state = RenewalState.read(subscription.metadata)
    try:
        return terms.overridden_by(state.policy if state else None)
    except PolicyOverrideInvalid:
        return terms  # plan has said so


def _schedule(subscription: OrderSubscription, terms: PolicyTerms) -> Schedule | None:
    state = RenewalState.read(subscription.metadata)
    anchor = (state.anchor if state else None) or subscription.starts_at or subscription.next_run_at
    try:
        return Schedule(subscription.frequency, anchor, terms.time_zone) if anchor else None
    except UnknownFrequency:
        return None  # plan has said so


def _sentence(answer: Renewal | Skipped, terms: PolicyTerms) -> str:
    if isinstance(answer, Skipped):
        return f"not due: {answer.sentence}"
    attempt = f", attempt {answer.state.attempt + 1}" if answer.state.attempt else ""
    return f"due: the period of {_dated(answer.due, terms)}{attempt}"


def _said(answer: Renewal | Skipped) -> tuple[str, ...]:
    return answer.warnings if isinstance(answer, Renewal) else ()


_SHORTEST_MONTH = 28


def _traps(schedule: Schedule, dates: tuple[datetime, ...]) -> list[str]:
    """What about this calendar surprises people."""
    return [*_month_ends(schedule), *_crontab_traps(schedule), *_clock_changes(schedule, dates)]


def _month_ends(schedule: Schedule) -> list[str]:
    day = wall_of(schedule.anchor, schedule.zone).day
    if isinstance(schedule.frequency, Every) and schedule.frequency.unit == "month" and day > _SHORTEST_MONTH:
        return [f"it counts from day {day}: in months without that day it is due on the last day"]
    return []


def _crontab_traps(schedule: Schedule) -> list[str]:
    if not isinstance(schedule.frequency, Crontab):
        return []
    found = []
    _, hours, days, _, _ = schedule.frequency.expression.split(" ")
    if restricts_days_twice(schedule.frequency):
        found.append("crontab names days of the month and weekdays: it is due on either, not only on both")
    if _latest_day(days) > _SHORTEST_MONTH:
        found.append(f"crontab day {days}: months without that day are skipped; use monthly for their last day")
    found += [
        f"crontab {name} {field}: the steps start again {often}, so that the last one is shorter"
        for name, field, often, whole in (("hours", hours, "every day", 24), ("days", days, "every month", 0))
        if "/" in field and (not whole or whole % int(field.rpartition("/")[2] or 1))
    ]
    return found


def _latest_day(field: str) -> int:
    return max((int(part) for part in field.replace("-", ",").split(",") if part.isdecimal()), default=0)


def _clock_changes(schedule: Schedule, dates: tuple[datetime, ...]) -> list[str]:
    """The dates on which the usual time of day is left out, or comes twice."""
    found = []
    for date in dates:
        wall = wall_of(date, schedule.zone)
        if not _is_usual(schedule, wall):
            found.append(f"on {wall:%Y-%m-%d} clocks leave out its usual time: due at {wall:%H:%M} instead")
        elif _comes_twice(schedule, wall):
            found.append(f"on {wall:%Y-%m-%d} clocks show {wall:%H:%M} twice: due the first time")
    return found


def _is_usual(schedule: Schedule, wall: datetime) -> bool:
    """Whether the wall clock shows what the calendar asks for; it does not where a spring change left that out."""
    if isinstance(schedule.frequency, Crontab):
        return schedule.frequency.fits(wall)
    return schedule.frequency.unit == "hour" or wall.time() == wall_of(schedule.anchor, schedule.zone).time()


def _comes_twice(schedule: Schedule, wall: datetime) -> bool:
    if isinstance(schedule.frequency, Every) and schedule.frequency.unit == "hour":
        return False
    first, second = (wall.replace(tzinfo=schedule.zone, fold=fold).utcoffset() for fold in (0, 1))
    return first != second


def _overlong(retries: dict[FailureClass, tuple[datetime, ...]], dates: tuple[datetime, ...]) -> list[str]:
    """Retries that run into the next period hold it up."""
    shortest = min((later - earlier for earlier, later in pairwise(dates)), default=None)
    long = [cls for cls, moments in retries.items() if shortest is not None and moments[-1] - moments[0] >= shortest]
    if not long:
        return []
    return [f"retries ({', '.join(long)}) can outlast a period: later ones wait, or are caught up by policy"]


def _dated(instant: datetime, terms: PolicyTerms) -> str:
    zone = ZoneInfo(terms.time_zone)
    return f"{in_words(instant, zone)} {wall_of(instant, zone).year}"


def _block(title: str, lines: list[str]) -> list[str]:
    return [f"  {title}:", *[f"    {line}" for line in lines]] if lines else []
