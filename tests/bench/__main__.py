"""
`python -m bench` (with `tests` on the path): how fast each contestant renews, and at what cost.

Every contestant does the same job with its own sandbox, in its own process, on the same machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench import ceiling, measuring, page, retention
from bench.figures import Figures, Round
from bench.measuring import (
    BARE,
    IN_WAVES,
    NAIVE,
    ON_POSTGRES,
    PERENNIAL,
    PREPARED,
    SDK_SCRIPT,
    TEN_TIMES,
    TWO_HOSTS,
    Contestant,
    ContestantFailed,
)

WITHOUT_WAVES = {"first_wave": 10_000, "second_wave": 10_000}
"""A policy without waves, which pause twice for as long as a copy takes. Only a row that says so has waves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all rounds, print them, and write the page. Returns the exit code."""
    given = _parser().parse_args(arguments)
    began = time.monotonic()
    others, missing = [each for each in (SDK_SCRIPT, NAIVE, BARE) if each.name not in given.without], []
    why_not = measuring.install_sdk() if SDK_SCRIPT in others else None
    if why_not is not None:
        others.remove(SDK_SCRIPT)
        missing.append(f"The official SDK did not take part: {why_not}.")
    at_first = measuring.load()
    print(f"measuring; {at_first}", flush=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="perennial-bench-") as folder:
        home = Path(folder)
        best = ceiling.measure(given.unlimited).sentence
        print(best, flush=True)
        for round_, contestants in _rounds(given, others):
            figures = []
            for contestant in contestants:
                try:
                    figures.append(_one(contestant, round_, home))
                except ContestantFailed as failed:
                    missing.append(f"{round_.name}: {failed}.")
                    print(missing[-1], flush=True)
            if not figures or figures[0].contestant != PERENNIAL.name:
                return 1
            results.append((round_, figures))
            print(page.text(round_, figures), flush=True)
    kept = _kept(given, missing)
    setting = [_setting(), f"It took {time.monotonic() - began:.0f} s; before: {at_first}, after: {measuring.load()}."]
    given.out.write_text(page.markdown(results, best, setting, missing, kept))
    given.out.with_suffix(".svg").write_text(page.svg(results))
    print(f"written to {given.out}")
    return 0


def _rounds(given: argparse.Namespace, others: Sequence[Contestant]) -> list[tuple[Round, list[Contestant]]]:
    limited = Round("With the documented limits, ten times faster", given.limited, True, 0.1, 1.0)
    unlimited = Round("Without limits", given.unlimited, False, 1.0, 1.0)
    real = Round("With the documented limits, in real time, copies of 10 s", given.real, True, 1.0, 10.0)
    more = [each for each in (IN_WAVES, ON_POSTGRES, TEN_TIMES) if each.name not in given.without]
    at_limit = [each for each in (PREPARED, TWO_HOSTS) if each.name not in given.without]
    rounds = [(limited, [PERENNIAL, *at_limit, *others]), (unlimited, [PERENNIAL, *others, *more])]
    if given.real:
        rounds.append((real, [PERENNIAL]))
    return rounds


def _kept(given: argparse.Namespace, missing: list[str]) -> retention.Kept | None:
    if not given.days:
        return None
    try:
        return retention.measure("--days", str(given.days))
    except retention.NotFlat as failed:
        missing.append(f"What the Prefect server keeps: {failed}")
        print(missing[-1], flush=True)
        return None


def _one(contestant: Contestant, round_: Round, home: Path) -> Figures:
    renewals = max(1, round(round_.renewals * contestant.share_of_work))
    smaller = Round(round_.name, renewals, round_.limited, round_.window_scale, round_.copy_seconds)
    where = home / f"{contestant.name}-{round_.name}".replace(" ", "-")
    return measuring.run(contestant, smaller, where, {} if contestant.waves else WITHOUT_WAVES)


def _setting() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("prefect", "httpx"))
    return f"{platform.machine()}, Python {platform.python_version()}, {versions}; copies take a second unless noted."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="How fast each contestant renews, and at what cost."
    )
    parser.add_argument("--limited", type=int, default=300, help="renewals in the round with limits (300)")
    parser.add_argument("--unlimited", type=int, default=1000, help="renewals in the round without limits (1000)")
    parser.add_argument("--real", type=int, default=150, help="renewals in the round in real time (150; 0: none)")
    parser.add_argument("--days", type=int, default=180, help="days of a server that keeps what is told (180; 0: none)")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="contestants to leave out")
    parser.add_argument("--out", type=Path, default=Path("docs/bench.md"), help="the page to write (docs/bench.md)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
