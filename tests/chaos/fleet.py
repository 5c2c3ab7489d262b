"""
A campaign of a million renewals: how often does Perennial charge a period twice, or never, when everything goes wrong?

    python tests/chaos/fleet.py --renewals 1000000

It consists of shards: merchants of their own, one after the other in each process (`fleet_shard.py`). A shard that has
ended leaves a small file in the directory. The campaign may be stopped at any time: the same command goes on with the
first shard that has no file yet. The files belong to the seed, the size of the shards and the code of Perennial and of
this campaign; with other code it begins anew, in a folder beside them.

What is left out compared to `make chaos`: Prefect's engine and server (see `fleet_sweep.py`), manual copies, people who
act while a sweep runs, and requests that hang. What is added is number.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":  # Prefect reads its settings when it is imported, and these processes use no server
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]
    from flows.cli.prefect_server import forget_inherited_settings

    HOME = tempfile.TemporaryDirectory(prefix="perennial-campaign-")
    forget_inherited_settings()
    os.environ.update(PREFECT_HOME=HOME.name, PREFECT_LOGGING_LEVEL="CRITICAL", PREFECT_LOGGING_TO_API_ENABLED="false")
    os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"  # what asks for a server after all fails, and is seen

import certifi
from chaos.fleet_bounds import upper_bound
from chaos.fleet_shard import Size, Totals, run_shard

ROOT = Path(__file__).resolve().parents[2]
FAILED = 2
"""Exit status of a campaign that could not be run."""

STOPPED = 130
"""Exit status of a campaign that was stopped, as of any program that ends by Ctrl-C."""


RunsShard = Callable[[int, int, Size, Path, Callable[[], None]], Totals]

ITS_CODE = ("fleet_*.py", "campaign_faults.py", "customer_actions.py", "checker.py", "contracts.py")
"""The files of this folder on which a campaign's figures depend."""


class ShardFailed(Exception):  # noqa: N818 - the name says what happened
    """A shard ended with an error of the campaign itself; the message names its log."""


class Campaign:
    """All shards of one campaign: which are done, and which come next."""

    def __init__(self, directory: Path, seed: int, size: Size, renewals: int, run_shard: RunsShard = run_shard) -> None:
        self._seed, self._size, self._run_shard = seed, size, run_shard
        self.count = -(-renewals // size.renewals)
        self.folder = directory / _fingerprint(seed, size)
        self.folder.mkdir(parents=True, exist_ok=True)

    def record(self, number: int) -> Path:
        """The file that a shard leaves when it has ended."""
        return self.folder / f"shard-{number:05}.json"

    def missing(self) -> list[int]:
        """The shards that have not ended yet."""
        return [number for number in range(self.count) if not self.record(number).exists()]

    def totals(self) -> Totals:
        """What the shards that have ended found, together."""
        together = Totals()
        for number in range(self.count):
            with suppress(FileNotFoundError):
                together.add(Totals.from_json(json.loads(self.record(number).read_text())))
        return together

    def run_shard(self, number: int, parent_lives: int) -> None:
        """Run one shard, and leave its file. Ends the process if the parent has died."""

        def go_on() -> None:
            if select.select([parent_lives], [], [], 0)[0]:
                os._exit(1)

        folder = self.folder / f"shard-{number:05}"
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was stopped
        folder.mkdir()
        totals = self._run_shard(self._seed, number, self._size, folder, go_on)
        unfinished = self.record(number).with_suffix(".part")
        unfinished.write_text(json.dumps(totals.as_json(), indent=1))
        unfinished.replace(self.record(number))
        if not totals.complaints:  # else its database shows what happened
            shutil.rmtree(folder)


class ShardProcesses:
    """Runs the missing shards, several at the same time, each in a process of its own."""

    def __init__(self, campaign: Campaign, processes: int) -> None:
        self._campaign, self._processes = campaign, processes
        self._running: dict[int, int] = {}
        self._parent_lives, self._held_open = os.pipe()
        self._began_at = time.monotonic()

    def run(self) -> None:
        """
        Run all missing shards.

        Raises:
            ShardFailed: one ended with an error. The others were ended, too.
            KeyboardInterrupt: a person stops the campaign.
        """
        waiting = self._campaign.missing()
        already = self._campaign.totals().renewals
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._processes:
                    self._start(waiting.pop(0))
                self._wait_for_one(already)
        finally:
            for pid in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _start(self, number: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._be_a_shard(number)
        with suppress(PermissionError, ProcessLookupError):  # the child does the same, whoever comes first
            os.setpgid(pid, pid)
        self._running[pid] = number

    def _be_a_shard(self, number: int) -> NoReturn:
        status = FAILED
        try:
            os.setpgid(0, 0)  # Ctrl-C is for the campaign, which then ends all that a shard has started
            os.close(self._held_open)
            log = self._log(number).open("w")
            os.dup2(log.fileno(), 2)
            self._campaign.run_shard(number, self._parent_lives)
            status = 0
        except BaseException:  # noqa: BLE001 - its log shows the error
            traceback.print_exc()
        finally:
            os._exit(status)

    def _log(self, number: int) -> Path:
        return self._campaign.folder / f"shard-{number:05}.log"

    def _wait_for_one(self, already: int) -> None:
        pid, status = os.wait()
        number = self._running.pop(pid)
        if status != 0:
            raise ShardFailed(f"shard {number} ended with an error, see {self._log(number)}")
        totals, seconds = self._campaign.totals(), time.monotonic() - self._began_at
        print(
            f"{totals.shards} of {self._campaign.count} shards: {totals.renewals:,} renewals, {totals.doubled} doubled,"
            f" {totals.lost} lost, {(totals.renewals - already) / seconds:.0f} renewals a second",
            file=sys.stderr,
            flush=True,
        )


def report(totals: Totals) -> str:
    """The figures as a table."""
    rows: list[tuple[str, object]] = [
        ("renewals", f"{totals.renewals:,}"),
        ("charged twice", totals.doubled),
        ("lost", totals.lost),
        *_bounds(totals),
        ("other complaints of the auditor", _others(totals)),
        ("surplus copies", f"{totals.surplus:,}"),
        ("  of these left uncancelled", _left(totals)),
        ("latest renewal after its date, in hours", f"{totals.worst_delay_hours:.0f}"),
        *_by_kind("sweeps", totals.sweeps, totals.ended),
        *_by_kind("of these killed", totals.kills.total(), totals.kills),
        *_by_kind("unexpected exceptions inside of sweeps", totals.unexpected.total(), totals.unexpected),
        *_by_kind("faults of network and shop", totals.faults.total(), totals.faults),
        *_by_kind("declined cards, empty stock and the like", totals.troubles.total(), totals.troubles),
        *_by_kind("what people did", totals.actions.total(), totals.actions),
        ("shards", totals.shards),
        ("CPU seconds", f"{totals.cpu_seconds:,.0f}"),
        ("renewals per CPU second", f"{totals.renewals / totals.cpu_seconds:.1f}" if totals.cpu_seconds else "-"),
    ]
    return "\n".join(f"{name:<52}{value!s:>12}" for name, value in rows)


def _bounds(totals: Totals) -> list[tuple[str, object]]:
    """One-sided upper confidence bounds on the probabilities; see `fleet_bounds.py`."""
    if not totals.renewals:
        return []
    bounds = [
        ("a double charge per renewal", totals.doubled, totals.renewals),
        ("a loss per renewal", totals.lost, totals.renewals),
        ("a double charge per killed sweep", totals.doubled, totals.kills.total()),
        ("a loss per killed sweep", totals.lost, totals.kills.total()),
    ]
    return [
        (f"  {name}, at most (95 %)", f"{upper_bound(min(events, trials), trials):.2g}")
        for name, events, trials in bounds
        if trials
    ]


def _left(totals: Totals) -> int:
    return sum(len(totals.complaints.get(kind, [])) for kind in ("surplus_left", "unwanted_left"))


def _others(totals: Totals) -> int:
    return sum(len(found) for kind, found in totals.complaints.items() if kind not in {"charged_twice", "lost"})


def _by_kind(title: str, count: int, kinds: Counter[str]) -> list[tuple[str, object]]:
    return [(title, f"{count:,}"), *((f"  {name}", f"{number:,}") for name, number in kinds.most_common())]


def _fingerprint(seed: int, size: Size) -> str:
    """Names a campaign: what its shards' figures depend on."""
    told = hashlib.sha256(repr((seed, astuple(size))).encode())
    tested = [path for folder in ("flows", "blocks") for path in (ROOT / folder).rglob("*.py")]
    own = [path for pattern in ITS_CODE for path in Path(__file__).parent.glob(pattern)]
    for path in sorted([*tested, *own]):
        told.update(path.read_bytes())
    return f"seed-{seed}-{told.hexdigest()[:12]}"


def _trust_one_certificate(folder: Path) -> None:
    """
    Make HTTP clients read a short file of certificates.

    No sandbox speaks TLS, but each client reads that file, and a sweep would spend a twentieth of its time on it.
    """
    end = "-----END CERTIFICATE-----\n"
    one = folder / "certificates.pem"
    one.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    os.environ["SSL_CERT_FILE"] = str(one)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Renews with faults and kills by lot, and counts double charges and losses. It goes on where it was"
        " stopped. Returns 1 if anything was wrong."
    )
    parser.add_argument("--renewals", type=int, default=1_000_000, help="at least so many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides what is drawn by lot (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="shards at once (%(default)s)")
    parser.add_argument("--directory", type=Path, default=Path(".perennial/campaign"), help="(%(default)s)")
    parser.add_argument("--shard-renewals", type=int, default=Size.renewals, help="(%(default)s)")
    parser.add_argument("--shard-subscriptions", type=int, default=Size.subscriptions, help="(%(default)s)")
    return parser.parse_args()


def main() -> int:
    """The command line. Returns 1 if the auditor found anything, or a sweep met an exception that no rule knows."""
    given = _arguments()
    size = Size(given.shard_subscriptions, given.shard_renewals)
    campaign = Campaign(given.directory, given.seed, size, given.renewals)
    _trust_one_certificate(campaign.folder)
    for each in (signal.SIGINT, signal.SIGTERM):  # a shell that starts it in the background has SIGINT ignored
        signal.signal(each, signal.default_int_handler)
    gc.freeze()  # children would copy the memory that their collector looks at
    try:
        ShardProcesses(campaign, given.processes).run()
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on after {campaign.totals().shards} shards", file=sys.stderr)
        return STOPPED
    except ShardFailed as error:
        print(error, file=sys.stderr)
        return FAILED
    totals = campaign.totals()
    print(report(totals))
    for kind, found in totals.complaints.items():
        for what in found[:20]:
            print(f"{kind}: {what}")
    return 1 if totals.complaints or totals.unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
