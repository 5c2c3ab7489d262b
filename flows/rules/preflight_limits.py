"""What limits the coming sweeps: how long they take at the rate limit, and whether the policy's caps stop them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from blocks.commerce_layer.rate_limit.rate_limits import Windows
from blocks.policy import Policy
from flows.rules.amounts import money
from flows.rules.caps import Charged, cap_reached, has_caps, start_of_day
from flows.rules.predictions import Expected, Prediction
from flows.rules.zones import wall_of

_MINUTE = 60
WAVE_SECONDS = 60
"""How much longer than `settle_seconds` a wave may take: a minute for copies, gateways and the window of the limit."""


class TimeNeeded(BaseModel):
    """How long the sweeps will be at work, all together."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    writes: int
    """Requests that change something."""
    per_minute: int | None = None
    """Writes that the rate limit allows in a minute; None without a limit."""
    seconds: tuple[int, int] | None = None
    """The shortest and the longest time; None without a limit, where the shop alone decides."""

    @property
    def in_words(self) -> str:
        """`2 to 4 min for 300 writes at 100 a minute`."""
        writes = f"{self.writes:,} write{'' if self.writes == 1 else 's'}"
        if self.seconds is None or self.per_minute is None:
            return f"{writes} without a rate limit"
        return f"{range_in_words(self.seconds)} for {writes} at {self.per_minute:,} a minute"


def range_in_words(seconds: tuple[int, int]) -> str:
    """`2 to 4 min`, or `5 to 65 s`."""
    low, high = seconds
    if high < 2 * _MINUTE:
        return f"{low} to {high} s"
    shortest = f"{low // _MINUTE:,} to" if low >= _MINUTE else "up to"
    return f"{shortest} {-(-high // _MINUTE):,} min"


def time_needed(predictions: Iterable[Prediction], policy: Policy, windows: Windows | None) -> TimeNeeded:
    """
    How long the writes of these renewals take. `windows` are the limits of writes; None without a limit.

    In the shortest case the window of the limit is free at the beginning, and only the limit counts; in the longest it
    is used up, and each wave waits for copies and for the gateway as well.
    """
    working = [each for each in predictions if each.writes]
    writes = sum(each.writes for each in working)
    if windows is None:
        return TimeNeeded(writes=writes)
    per_minute = round(windows.average * _MINUTE / windows.seconds)
    if not writes:
        return TimeNeeded(writes=0, per_minute=per_minute, seconds=(0, 0))
    waves = 1 + (len(working) > policy.first_wave) + (len(working) > policy.first_wave + policy.second_wave)
    each_window = windows.seconds / windows.average
    shortest = max(0, writes - windows.average) * each_window + waves * policy.settle_seconds
    longest = writes * each_window + waves * (policy.settle_seconds + WAVE_SECONDS)
    return TimeNeeded(writes=writes, per_minute=per_minute, seconds=(round(shortest), round(longest)))


def within_caps(
    predictions: Sequence[Prediction], policy: Policy, charged: Charged, now: datetime, until: datetime
) -> tuple[list[Prediction], list[str]]:
    """
    The predictions with those as not charged for which the caps leave no room until `until`, and a sentence for each
    day on which a cap stops all charging. `charged` is what was charged on the day of `now`.

    What a day leaves is charged on the next day, before what is due then, as far as that is before `until` (all UTC).
    """
    if not has_caps(policy):
        return list(predictions), []
    zone = ZoneInfo(policy.time_zone)
    done = [each for each in predictions if not _is_to_be_charged(each)]
    coming = sorted((each for each in predictions if _is_to_be_charged(each)), key=lambda each: each.at)
    waiting: list[Prediction] = []
    said = []
    for day, end in _days(now, until, zone):
        queue = waiting + [each for each in coming if day <= each.at < end]
        room = _room(queue, policy, charged if day <= now else Charged())
        done, waiting = done + queue[:room], queue[room:]
        if waiting:
            said.append(f"{wall_of(day, zone):%Y-%m-%d}: {room} of {len(queue)} renewals fit into {_caps(policy)}")
    said_of_each = "the caps of the day leave no room for it"
    beyond = {"expected": Expected.NOT_CHARGED, "sentence": said_of_each, "is_beyond_caps": True, "writes": 0}
    return [*done, *(each.model_copy(update=beyond) for each in waiting)], said


def brake_expected(predictions: Iterable[Prediction], policy: Policy) -> str | None:
    """A sentence if so many first attempts are expected to fail for one reason that the brake stops a sweep."""
    first = [each for each in predictions if each.expected is not Expected.NOT_CHARGED and not each.is_retry]
    failed = Counter(each.failure_class for each in first if each.expected is Expected.FAILED)
    cls, count = failed.most_common(1)[0] if failed else (None, 0)
    if len(first) < policy.first_wave or count <= policy.brake_share * len(first):
        return None
    share = f"more than {policy.brake_share:.0%}"
    return (
        f"{count} of {len(first)} first attempts will fail for one reason ({cls}), {share}: the brake stops the sweep"
    )


def _is_to_be_charged(prediction: Prediction) -> bool:
    return prediction.expected is Expected.RENEWED and not prediction.is_placed


def _days(now: datetime, until: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Beginning and end of the merchant's days, from the one of `now` to the one that `until` cuts off."""
    day = start_of_day(now, zone)
    while day < until:
        following = start_of_day(day + timedelta(hours=36), zone)  # no day is that long
        yield day, min(following, until)
        day = following


def _room(queue: Sequence[Prediction], policy: Policy, charged: Charged) -> int:
    """How many of the queue are charged before a cap stops the sweep."""
    for place, each in enumerate(queue):
        if cap_reached(policy, charged, each.price) is not None:
            return place
        charged += Charged.of([each.price])
    return len(queue)


def _caps(policy: Policy) -> str:
    """`max_renewals_per_day (100)`, or each of the caps."""
    caps = [] if policy.max_renewals_per_day is None else [f"max_renewals_per_day ({policy.max_renewals_per_day:,})"]
    caps += [f"max_amount_per_day ({money(most, name)})" for name, most in sorted(policy.max_amount_per_day.items())]
    return " and ".join(caps)
