"""Which request may be sent now: a pure decision on the history of one class of requests.

A place in a window is taken until the request's *answer* arrives, and for the length of the
window after that. The server counts a request earlier, when it arrives. So we never count fewer
requests than the server does, whatever the latency is, and our own requests cannot cause a 429.
The price is one round trip per window: 0.2 % at 100 ms.

Taking turns needs no state besides the history. Of the waiting requests, those that finish a renewal (placing,
recording) get four places for each that a creation gets. Of these, records come first, while what was read for them is
fresh. Among equals, the owner that got the fewest is next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from blocks.commerce_layer.rate_limit.division import Division
from blocks.commerce_layer.rate_limit.entries import GIVEN_UP_AFTER, Answer, Ask, Entry, Foreign, kept_free
from blocks.commerce_layer.rate_limit.rate_limits import Windows

LATE_SECONDS = 0.25
"""A waiting request says when it will ask again. If it is later than this (seconds), it loses its turn: its process
may have died."""
TURN_SHARE = 1 / 3000
"""How long to wait when there is room but it is another request's turn, as a share of the window: 20 ms in 60 s."""
SHORTEST_NAP_SECONDS, LONGEST_NAP_SECONDS = 0.001, 1.0
DISTRUST_SECONDS = 3600.0
"""After a 429 the methods are counted together again for this long."""
PLACES_IN_A_TURN = 3
PROOFS_NEEDED = 5
TOO_MANY = 429
"""The one HTTP status that is about limits."""
RECORDED_ON = "order_subscriptions"
"""The endpoint of records, each of which finishes a renewal."""
SHARES = {"create": 1.0, "write": 4.0, "delete": 1.0, "read": 1.0, "token": 1.0}


@dataclass(slots=True)
class RequestHistory:
    """The recent requests of one class, the waiting ones, and what was learned from answers."""

    entries: list[Entry] = field(default_factory=list)
    waiting: dict[Ask, float] = field(default_factory=dict)
    """Waiting request -> when it will ask again."""
    foreign: list[Foreign] = field(default_factory=list)
    blocked: dict[str, float] = field(default_factory=dict)
    """Endpoint, or `*` for all -> until when, after a 429."""
    learned_average: int | None = None
    learned_seconds: float | None = None
    separate: bool = False
    """Whether the answers have proved that each HTTP method has a counter of its own."""
    proofs: int = 0
    distrust_until: float = 0.0
    division: Division | None = None
    """Set while the owners cannot see each other's requests."""

    def windows(self, configured: Windows) -> Windows:
        """The configured windows, corrected by what the headers said."""
        average = self.learned_average if configured.learns_average else None
        seconds = self.learned_seconds if configured.learns_seconds else None
        return replace(configured, average=average or configured.average, seconds=seconds or configured.seconds)

    def take(self, ask: Ask, place: str, configured: Windows, now: float, *, more: bool = False) -> float:
        """
        0 if `ask` may be sent now, as the entry called `place`; else the seconds to wait before asking again.

        `more`: whether the same owner has further requests waiting behind this one.
        """
        windows = self.windows(configured)
        self._forget(windows, now)
        wait = self._wait_for_room(ask, windows, now)
        if wait is None and self._is_next(ask, windows, now):
            self._note_waiting(ask, now if more else None)
            self.entries.append(Entry(place, ask.method, ask.endpoint, ask.kind, ask.owner, now))
            return 0
        nap = windows.seconds * TURN_SHARE if wait is None else wait
        nap = min(max(nap, SHORTEST_NAP_SECONDS), LONGEST_NAP_SECONDS)
        self._note_waiting(ask, now + nap)
        return nap

    def settle(self, ask: Ask, place: str, answer: Answer | None, configured: Windows, now: float) -> None:
        """
        Count a request from `now` on, and learn from its answer (None: none came).

        A place that the history no longer has counts as well: it was given up, or the history was lost.
        """
        entry = next((entry for entry in self.entries if entry.place == place), None)
        was_known = entry is not None
        if entry is None:
            entry = Entry(place, ask.method, ask.endpoint, ask.kind, ask.owner, now)
            self.entries.append(entry)
        entry.answered = now
        if answer is None:
            return
        self._learn_figures(answer)
        windows = self.windows(configured)
        if answer.status == TOO_MANY:
            self._back_off(entry, answer, windows, now)
        elif answer.remaining is not None and was_known:
            used = windows.average - answer.remaining
            self._learn_counters(entry, used, windows, now)
            self._learn_foreign(entry, used, windows, now)

    def room(self, ask: Ask, ahead: int, configured: Windows, now: float) -> float:
        """Seconds until both windows may have room for one more request, after `ahead` others; 0 if they have now."""
        windows = self.windows(configured)
        self._forget(windows, now)
        return self._wait_for_room(ask, windows, now, ahead) or 0.0

    def refund(self, place: str) -> None:
        """Give a place back: its request was never sent."""
        self.entries = [entry for entry in self.entries if entry.place != place]

    def leave(self, ask: Ask) -> None:
        """Stop waiting."""
        self.waiting.pop(ask, None)

    def divide(self, division: Division) -> None:
        """Let each owner have its part of the limits only."""
        self.division = division.merged(self.division)

    @property
    def owners(self) -> set[str]:
        """Who has sent a request lately, or waits to."""
        return {entry.owner for entry in self.entries} | {ask.owner for ask in self.waiting}

    def take_over(self, other: RequestHistory, later: float, now: float) -> None:
        """Add what was counted in another history, whose clock is `later` seconds behind this one's."""
        known = {entry.place: entry for entry in self.entries}
        for there in other.entries:
            answered = None if there.answered is None else min(there.answered + later, now)
            here = known.get(there.place)
            if here is None:
                self.entries.append(replace(there, taken=min(there.taken + later, now), answered=answered))
            elif here.answered is None:
                here.answered = answered
        for where, until in other.blocked.items():
            self.blocked[where] = max(until + later, self.blocked.get(where, 0.0))
        self.learned_average = self.learned_average or other.learned_average
        self.learned_seconds = self.learned_seconds or other.learned_seconds

    # --- room ---------------------------------------------------------------------------------

    def _wait_for_room(self, ask: Ask, windows: Windows, now: float, ahead: int = 0) -> float | None:
        """None when both windows have room, else the seconds until they may."""
        waits = [until - now for where, until in self.blocked.items() if where in {"*", ask.endpoint} and until > now]
        for endpoint, limit, seconds in (
            (None, windows.average - kept_free(self._others(ask.method)), windows.seconds + windows.guard),
            (ask.endpoint, windows.burst, windows.burst_seconds + windows.guard),
        ):
            fitting = self.division.limit(limit, ahead) if self.division else limit - ahead
            until = self._full_until(self._counted(ask.owner, ask.method, endpoint), fitting, seconds, now)
            if until is not None:
                waits.append(until - now)
        if self.division and self.division.waits_for_the_first_answer(self.entries, ask.owner):
            waits.append(windows.seconds * TURN_SHARE)
        return max(waits, default=None)

    def _counted(self, owner: str, method: str, endpoint: str | None = None) -> Iterator[float]:
        """From when each request counts that shares a counter with `method` (and `endpoint`), as `owner` sees it."""
        seen = [e for e in self.entries if self._same_counter(e.method, method) and endpoint in {None, e.endpoint}]
        yield from (entry.counts_from for entry in seen)
        if self.division:
            yield from self.division.unseen(seen, owner)
        if endpoint is None:
            for foreign in self._others(method):
                yield from [foreign.at] * foreign.count

    def _others(self, method: str) -> list[Foreign]:
        return [seen for seen in self.foreign if self._same_counter(seen.method, method)]

    def _same_counter(self, one: str, other: str) -> bool:
        return one == other or not self.separate

    @staticmethod
    def _full_until(counted: Iterator[float], limit: int, seconds: float, now: float) -> float | None:
        leaving = sorted(at + seconds for at in counted if at + seconds > now)
        if len(leaving) < limit:
            return None
        # A limit below 1 gives an index beyond the list: there is no request to wait for.
        return leaving[len(leaving) - limit] if limit > 0 else now + seconds

    def _free(self, owner: str, method: str, windows: Windows, now: float) -> int:
        since = now - windows.seconds - windows.guard
        return windows.average - sum(at > since for at in self._counted(owner, method))

    # --- turns --------------------------------------------------------------------------------

    def _is_next(self, ask: Ask, windows: Windows, now: float) -> bool:
        """Whether no other waiting request that is still active, and could use the place, comes before `ask`."""
        turn = max(windows.seconds * TURN_SHARE, SHORTEST_NAP_SECONDS)
        rivals = [
            other
            for other, back_at in self.waiting.items()
            if other != ask
            and now - LATE_SECONDS < back_at <= now + 2 * turn
            and self._same_counter(other.method, ask.method)
            and self._wait_for_room(other, windows, now) is None
        ]
        since = now - windows.burst_seconds
        return not rivals or self._rank(ask, since) <= min(self._rank(rival, since) for rival in rivals)

    def _rank(self, ask: Ask, since: float) -> tuple[float, float, bool, int]:
        """The owner that got less comes first, for a few places in a row: each change of owner costs a wait."""
        recent = [entry for entry in self.entries if entry.taken > since and entry.kind == ask.kind]
        own = sum(entry.owner == ask.owner for entry in recent)
        share = SHARES[ask.kind]
        return len(recent) // (PLACES_IN_A_TURN * share), -share, ask.endpoint != RECORDED_ON, own // PLACES_IN_A_TURN

    def _note_waiting(self, ask: Ask, back_at: float | None) -> None:
        if back_at is None:
            self.waiting.pop(ask, None)
        else:
            self.waiting[ask] = back_at

    # --- learning -----------------------------------------------------------------------------

    def _learn_figures(self, answer: Answer) -> None:
        if answer.limit and answer.limit > 0:
            self.learned_average = answer.limit
        if answer.interval and answer.interval > 0:
            self.learned_seconds = answer.interval

    def _back_off(self, entry: Entry, answer: Answer, windows: Windows, now: float) -> None:
        """After a 429: a full average window, or the short one when the average still has room."""
        self.separate, self.proofs, self.distrust_until = False, 0, now + DISTRUST_SECONDS
        if answer.remaining:
            self.blocked[entry.endpoint] = now + windows.burst_seconds + windows.guard
        else:
            self.blocked["*"] = now + windows.seconds + windows.guard

    def _surely_seen_before(self, entry: Entry, windows: Windows, now: float) -> list[Entry]:
        """Requests that the server must have counted when it counted `entry`, including `entry`."""
        since = now - windows.seconds + windows.guard
        return [
            other
            for other in self.entries
            if other.taken > since
            and (other is entry or (other.answered is not None and other.answered <= entry.taken))
        ]

    def _learn_counters(self, entry: Entry, used: int, windows: Windows, now: float) -> None:
        """
        Find out whether methods are counted apart (as in recorded traffic) or together (as in the docs).

        An answer speaks for apart if the server counted fewer requests than we surely sent with all methods, but no
        fewer than with this one. Several such answers in a row are needed, and none count for an hour after a 429.
        """
        if self.separate or now < self.distrust_until:
            return
        seen = self._surely_seen_before(entry, windows, now)
        same = sum(other.method == entry.method for other in seen)
        if same == len(seen):
            return
        self.proofs = self.proofs + 1 if same <= used < len(seen) else 0
        self.separate = self.proofs >= PROOFS_NEEDED

    def _learn_foreign(self, entry: Entry, used: int, windows: Windows, now: float) -> None:
        """Follow the server when it counts more than we sent: another program uses the address."""
        known = self._others(entry.method)
        surely_ours = sum(other.method == entry.method for other in self._surely_seen_before(entry, windows, now))
        excess = sum(seen.count for seen in known) - max(0, used - surely_ours)
        for seen in known:
            gone = min(seen.count, max(0, excess))
            seen.count, excess = seen.count - gone, excess - gone
        # The server counted when the request arrived. What has left our windows since then may have been in its own.
        # Other requests without an answer at that time do not explain its count: at a used-up limit, a request leaves
        # just when an earlier one's time is over, and requests of other programs would never be seen.
        length = windows.seconds + windows.guard
        left_meanwhile = sum(
            other.counts_from <= now - length and other.taken > entry.taken - length
            for other in self.entries
            if self._same_counter(other.method, entry.method)
        )
        unexplained = windows.average - self._free(entry.owner, entry.method, windows, now) + left_meanwhile
        if used > unexplained:
            self.foreign.append(Foreign(now, entry.method, used - unexplained))

    def _forget(self, windows: Windows, now: float) -> None:
        """
        Drop what has left the windows, and what is ahead of the clock (after a restart of the machine).

        What was in the windows when a request began is kept until its answer, whose headers refer to that time.
        """
        open_since = (e.taken for e in self.entries if e.answered is None and 0 <= now - e.taken < GIVEN_UP_AFTER)
        since = min(open_since, default=now) - windows.seconds - windows.guard
        self.entries = [e for e in self.entries if e.counts_from > since and e.taken <= now]
        self.foreign = [seen for seen in self.foreign if since < seen.at <= now and seen.count > 0]
        if self.division and self.division.until <= now:
            self.division = None
        self.blocked = {
            where: until for where, until in self.blocked.items() if now < until <= now + windows.seconds + 60
        }
        self.waiting = {
            ask: back_at
            for ask, back_at in self.waiting.items()
            if now - LATE_SECONDS < back_at <= now + LONGEST_NAP_SECONDS
        }
