"""The shop's time: moves the clock, and runs in order everything that becomes due."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

_EARLIEST, _LATEST = 1971, 2500  # years in which frequencies, tokens and timers can still be calculated
_LONGEST_TIMER_SECONDS = 3600.0


class Timekeeper:
    """Moves the clock, runs what is due, and waits in real time for what is due next."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._clock = shop.clock
        self._scheduler = shop.scheduler
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._restore_clock()

    def start(self) -> None:
        """From now on, run due actions even if no request arrives."""
        self._loop = asyncio.get_running_loop()
        self._scheduler.on_change = self._set_timer
        self._set_timer()

    def stop(self) -> None:
        """Stop running due actions without a request."""
        self._scheduler.on_change = lambda: None
        if self._timer is not None:
            self._timer.cancel()

    def catch_up(self) -> None:
        """Run what is due by now."""
        if self._scheduler.is_due():
            self._run_until(None)

    def advance(self, seconds: float) -> int:
        """Move the clock forward and run what is due on the way; returns how many actions ran."""
        return self.move_to(self._clock.now() + timedelta(seconds=seconds))

    def move_to(self, instant: datetime) -> int:
        """
        Set the clock. Moving forward runs what is due on the way, moving back runs nothing.

        Raises:
            ValueError: a year that the sandbox does not support.
        """
        if not _EARLIEST <= instant.year <= _LATEST:
            raise ValueError(f"{instant} is not between the years {_EARLIEST} and {_LATEST}")
        if instant >= self._clock.now():
            return self._run_until(instant)
        self._clock.set(instant)
        self._save_clock()
        return 0

    def run_at(self, rate: float) -> None:
        """Change the speed of the clock; 0 freezes it."""
        self._clock.run_at(rate)
        self._save_clock()

    def _run_until(self, target: datetime | None) -> int:
        try:
            with self._shop.database.transaction():
                ran = self._scheduler.run_until(target or self._clock.now())
                if target is not None:
                    self._clock.set(target)
                    self._save_clock()
        finally:
            self._set_timer()  # also after an error, so that later actions still run
        return ran

    def _save_clock(self) -> None:
        """Save the clock for a restart, and set the timer for the next due instant again."""
        self._shop.database.set_state("clock", f"{text_of(self._clock.now())} {self._clock.rate} {time.time()}")
        self._set_timer()

    def _restore_clock(self) -> None:
        """Go on as if the clock had run while the sandbox was down."""
        saved = self._shop.database.state("clock", "")
        if not saved:
            self._save_clock()
            return
        instant, rate, saved_at = saved.split(" ")
        passed = timedelta(seconds=(time.time() - float(saved_at)) * float(rate))
        self._clock.set(instant_of(instant) + max(passed, timedelta()))
        self._clock.run_at(float(rate))

    def _set_timer(self) -> None:
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._scheduler.next_instant()
        seconds = None if due is None else self._clock.real_seconds_until(due)
        if seconds is not None:
            self._timer = self._loop.call_later(min(seconds, _LONGEST_TIMER_SECONDS), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._run_until(None)
