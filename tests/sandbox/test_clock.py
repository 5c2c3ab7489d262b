"""Time in the sandbox: the clock moves when it is told to, and what falls due on the way happens in order."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from blocks.sandbox.control.sandbox import Sandbox
from blocks.sandbox.running import RunningSandbox
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.scheduler import Scheduler
from blocks.sandbox.shop.virtual_clock import Clock, instant_of, text_of

START = datetime(2026, 3, 1, 6, tzinfo=UTC)


def test_a_frozen_clock_stands_still_and_moves_when_told(sandbox):
    before = sandbox.clock()
    assert sandbox.clock() == before

    assert sandbox.advance(90) == before + timedelta(seconds=90)
    assert sandbox.set_clock("2030-01-01T00:00:00Z") == datetime(2030, 1, 1, tzinfo=UTC)
    assert sandbox.set_clock(START) == START


def test_a_clock_runs_at_the_rate_it_was_given(sandbox):
    before = sandbox.resume(rate=100_000)
    time.monotonic()
    after = sandbox.freeze()

    assert after > before
    assert sandbox.clock() == after


def test_scheduled_actions_run_in_order_including_those_that_other_actions_add():
    clock = Clock(START, rate=0)
    scheduler, seen = Scheduler(clock), []

    def note(name):
        seen.append((name, (scheduler.now() - START).total_seconds()))

    def chain():
        note("first")
        scheduler.at(START + timedelta(seconds=2), lambda: note("added"))

    scheduler.at(START + timedelta(seconds=3), lambda: note("last"))
    scheduler.at(START + timedelta(seconds=1), chain)
    scheduler.at(START + timedelta(seconds=9), lambda: note("beyond"))
    scheduler.run_until(START + timedelta(seconds=5))

    assert seen == [("first", 1), ("added", 2), ("last", 3)]
    assert scheduler.now() == START


def test_copies_complete_at_their_own_times_however_far_the_clock_jumps(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"])
    created = caller.attributes("order_copies", copy_id)["created_at"]
    sandbox.advance(5000)
    caller.log_in()

    copy = caller.attributes("order_copies", copy_id)
    took = instant_of(copy["completed_at"]) - instant_of(created)
    assert timedelta(seconds=1) < took < timedelta(seconds=3)


def test_the_same_seed_gives_the_same_data_twice(make_caller):
    runs = []
    for _ in range(2):
        with RunningSandbox("--limits", "off", "--frozen", "--clock", "2026-03-01T06:00:00Z", "--seed", "7") as running:
            caller = make_caller(running)
            made = running.seed(5, failures={"declined": 2})
            copies = [caller.copy(order_id) for order_id in made["source_order_ids"]]
            running.advance(20)
            runs.append((made, [caller.attributes("order_copies", one) for one in copies]))

    assert runs[0] == runs[1]


def cpu_of_a_day(subscriptions: int) -> float:
    """CPU seconds of a sandbox for a day on which its own engine runs this many subscriptions."""
    with RunningSandbox("--limits", "off", "--frozen", "--clock", "2032-12-31T23:59:59Z") as running:
        running.seed(active=subscriptions, due="2033-01-01T00:00:00Z", spread_seconds=80_000)
        before = running.cpu_seconds
        running.advance(86_401)
        return running.cpu_seconds - before


@pytest.mark.slow
def test_the_cpu_time_of_a_run_does_not_grow_with_the_number_of_runs():
    few, many = cpu_of_a_day(350), cpu_of_a_day(3500)

    assert many <= 2 * 10 * few


def test_a_time_is_written_with_milliseconds_and_read_in_any_time_zone():
    assert text_of(datetime(2026, 3, 1, 6, 0, 0, 123_999, tzinfo=UTC)) == "2026-03-01T06:00:00.123Z"
    assert instant_of("2026-03-01T07:00:00+01:00") == START
    assert instant_of("2026-03-01T06:00:00") == START


def test_copies_complete_without_any_request(make_caller):
    with RunningSandbox("--limits", "off", "--rate", "50") as running:
        copy_id = make_caller(running).copy(running.create_subscription()["source_order_id"])
        deadline = time.monotonic() + 120
        status = "pending"
        with closing(sqlite3.connect(running.database)) as database:
            while status != "completed" and time.monotonic() < deadline:
                found = database.execute("SELECT status FROM order_copies WHERE id = ?", (copy_id,))
                status = found.fetchone()[0]

    assert status == "completed"


def test_a_scheduled_action_that_fails_is_rolled_back_and_the_others_still_run(tmp_path, caplog):
    clock = Clock(START, rate=0)
    sandbox = Sandbox(Settings(), tmp_path / "clock.sqlite", clock)
    database = sandbox.shop.database

    def stumble():
        database.set_state("stumbled", "yes")
        raise RuntimeError("a mistake")

    sandbox.shop.after(1, lambda: database.set_state("before", "yes"))
    sandbox.shop.after(1, stumble)
    sandbox.shop.after(1, lambda: database.set_state("after", "yes"))

    assert sandbox.timekeeper.advance(2) == 3
    assert [database.state(name, "no") for name in ("before", "stumbled", "after")] == ["yes", "no", "yes"]
    assert clock.now() == START + timedelta(seconds=2)
    assert "a mistake" in caplog.text
    database.close()
