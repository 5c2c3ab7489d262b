"""The campaign of many renewals: a short one, one that is stopped, and one whose figures are false."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import psutil
import pytest
from chaos.fleet import STOPPED, Campaign, report
from chaos.fleet_bounds import upper_bound
from chaos.fleet_shard import Size, Totals

HERE = Path(__file__).parent


def begin(directory: Path) -> subprocess.Popen[str]:
    """Begin a campaign of two small shards, one after the other."""
    size = ("--renewals", "80", "--shard-renewals", "40", "--shard-subscriptions", "40", "--processes", "1")
    return subprocess.Popen(
        [sys.executable, HERE / "fleet.py", *size, "--directory", directory],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def records(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/shard-*.json"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_that_is_killed_goes_on_after_its_last_finished_shard_and_ends_clean(tmp_path: Path) -> None:
    first = begin(tmp_path)
    assert first.stderr is not None
    assert first.stderr.readline().startswith("1 of 2 shards")
    started = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.communicate()
    psutil.wait_procs(started)
    assert not any(each.is_running() for each in started), "what it has started ends with it"
    (finished,) = records(tmp_path)
    before = finished.read_bytes()

    printed, errors = begin(tmp_path).communicate()

    assert errors.startswith("2 of 2 shards"), errors
    assert finished.read_bytes() == before
    totals = Totals()
    for each in records(tmp_path):
        totals.add(Totals.from_json(json.loads(each.read_text())))
    assert printed == report(totals) + "\n"
    assert (totals.shards, totals.complaints, totals.unexpected) == (2, {}, {})
    assert totals.renewals >= 80
    assert totals.sweeps == totals.ended.total() + totals.kills.total()
    assert totals.kills.total() > 0
    assert totals.faults.total() > 0


def test_ctrl_c_ends_a_campaign_with_all_that_it_has_started(tmp_path: Path) -> None:
    running = begin(tmp_path)
    while not list(tmp_path.glob("*/shard-00000.log")):  # a shard writes it, so it has begun
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.05)
    started = psutil.Process(running.pid).children(recursive=True)
    os.kill(running.pid, signal.SIGINT)

    printed, errors = running.communicate()

    assert (running.returncode, printed) == (STOPPED, "")
    assert errors == "stopped; the same command goes on after 0 shards\n"
    psutil.wait_procs(started)
    assert not any(each.is_running() for each in started)


@pytest.mark.slow
def test_a_charge_too_many_and_one_too_few_are_found_and_counted(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, HERE / "falsified_shard.py", tmp_path], check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    assert {kind: len(each) for kind, each in found.items()} == {"charged_twice": 1, "placed_too_soon": 1, "lost": 1}

    totals = Totals(renewals=20, complaints=found)

    assert (totals.doubled, totals.lost) == (1, 1)
    table = {line[:52].strip(): line[52:].strip() for line in report(totals).splitlines()}
    assert (table["charged twice"], table["lost"], table["other complaints of the auditor"]) == ("1", "1", "1")


def a_shard(seed: int, number: int, size: Size, folder: Path, go_on: Callable[[], None]) -> Totals:
    """A shard that takes no time, with figures that are those of no other one."""
    go_on()
    return Totals(
        shards=1,
        renewals=size.renewals + number,
        surplus=seed,
        sweeps=2**number,
        faults=Counter({"reset": number + 1}),
        kills=Counter({f"at {number}": 1}),
        worst_delay_hours=float(number),
        cpu_seconds=0.5,
    )


def campaign(directory: Path, renewals: int = 400, **other: Any) -> Campaign:
    return Campaign(
        directory, **{"seed": 7, "size": Size(10, 100), "renewals": renewals, "run_shard": a_shard, **other}
    )


def run(each: Campaign, *numbers: int) -> None:
    nobody_died, held_open = os.pipe()
    for number in numbers:
        each.run_shard(number, nobody_died)
    os.close(nobody_died)
    os.close(held_open)


def test_a_campaign_that_was_stopped_and_one_that_was_not_have_the_same_totals(tmp_path: Path) -> None:
    run(whole := campaign(tmp_path / "whole"), 0, 1, 2, 3)
    run(campaign(tmp_path / "stopped"), 0, 2)
    stopped = campaign(tmp_path / "stopped")
    half_done = stopped.folder / "shard-00001"
    half_done.mkdir()
    (half_done / "sandbox.sqlite").write_text("what a killed shard leaves")
    stopped.record(1).with_suffix(".part").write_text('{"shards": 1, "rene')
    assert stopped.missing() == [1, 3]

    run(stopped, *stopped.missing())

    assert (stopped.missing(), stopped.totals()) == ([], whole.totals())
    assert whole.totals().renewals == 406
    assert whole.totals().sweeps == 15
    assert whole.totals().faults == {"reset": 10}
    assert not half_done.exists()


def test_a_larger_campaign_goes_on_with_the_shards_of_a_smaller_one(tmp_path: Path) -> None:
    run(campaign(tmp_path, renewals=150), 0, 1)
    assert campaign(tmp_path, renewals=301).missing() == [2, 3]
    assert campaign(tmp_path, renewals=100).totals().shards == 1


@pytest.mark.parametrize("other", [{"seed": 8}, {"size": Size(11, 100)}])
def test_shards_of_another_seed_or_size_are_not_counted(tmp_path: Path, other: dict[str, Any]) -> None:
    run(campaign(tmp_path), 0, 1, 2, 3)
    assert campaign(tmp_path, **other).totals() == Totals()


@pytest.mark.parametrize("trials", [1, 3, 100, 5000])
def test_what_was_never_seen_is_bounded_by_the_rule_of_three(trials: int) -> None:
    assert upper_bound(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials), rel=1e-9)
    assert upper_bound(0, trials) < 3 / trials


@pytest.mark.parametrize(("events", "trials"), [(1, 30), (2, 100), (7, 60)])
def test_at_the_bound_so_few_events_have_a_probability_of_five_percent(events: int, trials: int) -> None:
    p = Fraction(upper_bound(events, trials))
    seen = sum(comb(trials, count) * p**count * (1 - p) ** (trials - count) for count in range(events + 1))
    assert float(seen) == pytest.approx(0.05, rel=1e-9)


def test_a_bound_is_a_share_even_if_everything_failed_and_needs_trials() -> None:
    assert upper_bound(4, 4) == 1.0
    assert upper_bound(0, 1_000_000) == pytest.approx(2.9957e-6, rel=1e-4)
    for events, trials in ((0, 0), (2, 1), (-1, 5)):
        with pytest.raises(ValueError, match=f"{events} events in {trials} trials"):
            upper_bound(events, trials)
