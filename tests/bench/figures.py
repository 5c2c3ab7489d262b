"""What one contestant did in one round, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHARE, WRITES, READS, PER_SECOND, RUNS_EACH, GROWTH, SCALING = 0.97, 3.0, 0.3, 30.0, 4, 1.1, 1.9
"""The targets. Three writes are a renewal: create the copy, place its order, record it on the subscription."""


DATABASE_BYTES = 15_000
"""The target for what a renewal takes in the Prefect server's database."""


@dataclass(frozen=True)
class Round:
    """The rules of a round. Seconds are real ones."""

    name: str
    renewals: int
    limited: bool
    window_scale: float
    copy_seconds: float

    @property
    def writes_per_window(self) -> int:
        """The documented limit of the test environment, writes in any window."""
        return 100

    @property
    def window_seconds(self) -> float:
        """The long window."""
        return 60 * self.window_scale

    @property
    def least_seconds(self) -> float:
        """How long it takes at the limit, with three writes for each renewal."""
        return WRITES * self.renewals / self.writes_per_window * self.window_seconds if self.limited else 0.0


@dataclass(frozen=True)
class Figures:
    """One contestant in one round. CPU and memory are `None` where the system cannot tell."""

    contestant: str
    renewals: int
    seconds: float
    writes: int
    reads: int
    throttled: int
    cpu_seconds: float
    server_cpu_seconds: float | None
    sandbox_cpu_seconds: float | None
    peak_megabytes: float
    share_of_limit: float | None
    """Of the writes that the limit allows while work is waiting, those that were made; between 0 and 1."""
    task_runs: int | None = None
    """Task runs that the Prefect server shows; `None` for a contestant without a server."""
    duplicates: int = 0
    database_bytes: int | None = None
    """By how much the Prefect server's database has grown; `None` for a contestant without a server."""

    @property
    def is_ours(self) -> bool:
        """Whether it is Perennial, on whatever terms."""
        return self.contestant.startswith("Perennial")

    @property
    def per_second(self) -> float:
        """Renewals per second of the work."""
        return self.renewals / self.seconds

    @property
    def writes_each(self) -> float:
        """Writes per renewal."""
        return self.writes / self.renewals

    @property
    def reads_each(self) -> float:
        """Reads per renewal."""
        return self.reads / self.renewals

    @property
    def cpu_each(self) -> float:
        """CPU seconds per renewal of the contestant's own process."""
        return self.cpu_seconds / self.renewals

    @property
    def task_runs_each(self) -> float | None:
        """Visible task runs per renewal."""
        return None if self.task_runs is None else self.task_runs / self.renewals

    @property
    def database_each(self) -> float | None:
        """Bytes of the Prefect server's database per renewal."""
        return None if self.database_bytes is None else self.database_bytes / self.renewals

    @property
    def sandbox_cpu_each(self) -> float | None:
        """CPU seconds per renewal of the sandbox."""
        return None if self.sandbox_cpu_seconds is None else self.sandbox_cpu_seconds / self.renewals

    @property
    def server_cpu_each(self) -> float | None:
        """CPU seconds per renewal of the Prefect server."""
        return None if self.server_cpu_seconds is None else self.server_cpu_seconds / self.renewals


def share_of_limit(writes: Sequence[float], last_create: float, window_seconds: float, limit: int) -> float | None:
    """
    The share of the limit that was used while work was waiting.

    In a sliding window, write number `k * limit` (from 0) goes at the earliest `k` windows after the first one. The
    share compares this with when it went, for the largest `k` before the last creation: from then on too little work
    is left. Because it ends at a write, the figure does not depend on how a round happens to fall into windows.

    Args:
        writes: instants of all accepted writes, seconds.
        last_create: instant at which the last copy was created.
        window_seconds, limit: the limit.

    Returns:
        A share, or `None` when the round was shorter than one window.
    """
    at_work = [at for at in sorted(writes) if at <= last_create]
    windows = (len(at_work) - 1) // limit
    if windows < 1:
        return None
    return windows * window_seconds / (at_work[windows * limit] - at_work[0])


# --- targets ------------------------------------------------------------------------------------

TEN_TIMES_AS_MANY = "Perennial, ten times as many"
ON_TWO_HOSTS = "Perennial, on two hosts"


@dataclass(frozen=True)
class Result:
    """Whether one target was met; if not, by how much it was missed, and what bounds it."""

    target: str
    met: bool
    sentence: str


def targets_of(round_: Round, figures: Sequence[Figures]) -> list[Result]:
    """The targets that a round can check, for its first contestant."""
    one = figures[0]
    asked = 1 / one.renewals  # once a sweep, whether subscriptions may be written
    found = [_at_most("429s", one.throttled, 0), _at_most("writes per renewal", one.writes_each, WRITES + asked)]
    if round_.limited and one.share_of_limit is not None:
        found.append(_share(round_, one, one.share_of_limit))
    if round_.limited:
        found.append(_at_most("reads per renewal", one.reads_each, READS))
    if not round_.limited:
        found.append(_speed(one))
    if one.task_runs_each is not None:
        enough = one.task_runs_each >= RUNS_EACH
        found.append(Result(f"{RUNS_EACH} visible task runs each", enough, f"{one.task_runs_each:.2f}"))
    found += [_stored(each, each.database_each) for each in figures if each.database_each and each.is_ours]
    found += [_scaling(one, two) for two in figures if two.contestant == ON_TWO_HOSTS]
    return found + [_growth(one, many) for many in figures if many.contestant == TEN_TIMES_AS_MANY]


def _scaling(one: Figures, two: Figures) -> Result:
    ratio = two.per_second / one.per_second
    refused = f", {two.throttled} 429s" if two.throttled else ""
    return Result(f"{SCALING} times as fast on two hosts", ratio >= SCALING, f"{ratio:.2f}{refused}")


def _growth(few: Figures, many: Figures) -> Result:
    ratios = {"reads": many.reads_each / few.reads_each, "CPU": many.cpu_each / few.cpu_each}
    said = ", ".join(f"{ratio - 1:+.0%} {what}" for what, ratio in ratios.items())
    target = f"{many.renewals} cost at most a tenth more each than {few.renewals}"
    return Result(target, max(ratios.values()) <= GROWTH, f"{said}; {many.peak_megabytes:.0f} MB at the peak")


def _stored(one: Figures, each: float) -> Result:
    target = f"at most {DATABASE_BYTES / 1000:.0f} KB of database per renewal ({one.contestant})"
    return Result(target, each <= DATABASE_BYTES, f"{each / 1000:.0f} KB")


def _at_most(what: str, seen: float, allowed: float) -> Result:
    over = "" if seen <= allowed else f", {seen - allowed:.2f} too many"
    return Result(f"at most {allowed:g} {what}", seen <= allowed, f"{seen:.2f}{over}")


def _share(round_: Round, one: Figures, share: float) -> Result:
    said = f"{share:.1%}"
    if share < SHARE:
        idle = (1 - share) * one.seconds
        said += f", {100 * (SHARE - share):.1f} points short: places lay idle for {idle:.1f} s of {one.seconds:.0f} s"
        said += f", which is {idle / round_.window_seconds:.2f} windows"
    return Result(f"at least {SHARE:.0%} of the limit", share >= SHARE, said)


def _speed(one: Figures) -> Result:
    said = f"{one.per_second:.1f}"
    if one.per_second < PER_SECOND:
        said += f", {PER_SECOND - one.per_second:.1f} short"
        parts = {
            "our process": one.cpu_each,
            "the Prefect server": one.server_cpu_each,
            "sandbox": one.sandbox_cpu_each,
        }
        known = {name: each for name, each in parts.items() if each is not None}
        costliest, most = max(known.items(), key=lambda item: item[1])
        said += (
            f". CPU per renewal: {', '.join(f'{1000 * each:.0f} ms {name}' for name, each in known.items())}. One core "
            f"for {costliest} allows {1 / most:.0f} a second, two cores for all of them {2 / sum(known.values()):.0f}"
        )
    return Result(f"at least {PER_SECOND:.0f} renewals a second", one.per_second >= PER_SECOND, said)
