"""
Renews the same shop under every setting of the sandbox that stands for something nobody outside knows, and counts.

    python tests/fidelity.py                     the defaults, each other setting alone, and all pairs of settings
    python tests/fidelity.py --only copy-pays    the defaults and the settings whose names begin so

Every two settings meet in at least one shop ("pairwise covering"); three or more need not. The real flows run, and
`fidelity_checker.py`, which imports nothing of Perennial, reads the sandbox's database. Returns 1 if a period was
charged twice, charged to a card that was not the subscription's, lost, or held without need.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from year import LIGHT

if TYPE_CHECKING:
    from fidelity_checker import Verdict
    from fidelity_shop import FidelityShop

Setting = tuple[str, str]
"""Name and value."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "copy-pays": ("source-order", "newest", "subscription"),
    "missing-card": ("pending", "newest"),
    "native-pays": ("subscription", "source-order"),
    "created-card": ("source-order", "none"),
    "pending-without-card": ("off", "on"),
    "occurrencies": ("runs", "successes"),
    "past-expiry": ("keeps", "inactive"),
    "copied-source": ("unchanged", "changes"),
    "failed-target": ("pending", "draft"),
    "aborted-leaves": ("nothing", "order"),
    "refused-place": ("rolls-back", "keeps"),
    "refusal-shows": ("error", "nothing"),
    "shown-card": ("token", "nothing"),
    "late-creations": ("0", "2"),
    "list-lag": ("0", "2"),
    "write-counters": ("shared", "per-method"),
    "count-blocked": ("off", "on"),
    "meta": ("resource", "document"),
    "versioned paths": ("off", "on"),
    "prepare_ahead": ("off", "24h"),
}
"""
The settings with their values, the default first. Two are not the sandbox's: with "versioned paths" the client calls
/api/2026-05, and with "prepare_ahead" the policy has orders copied a day ahead.

Late creations and lagging lists add up; together they stay below the policy's `settle_seconds`, as they must.
"""

DEFAULTS = {name: values[0] for name, values in SETTINGS.items()}

POLICY: dict[str, Any] = {
    **dict.fromkeys(("payment_retries", "stock_retries", "catalogue_retries", "unknown_retries"), ["1d"] * 4),
    "transient_retries": ["10m"] * 4,
    "brake_share": 1.0,
    "max_unconfirmed": 1000,
}
"""Daily retries, and no brake: many fail at once."""


def needs_a_person(chosen: Mapping[str, str]) -> int:
    """
    How many subscriptions nobody can renew.

    Those without a card, where only the subscription's card is charged; and one whose card is always declined, where
    nobody can see with which other card its customer paid at the checkout.
    """
    unseen = chosen["shown-card"] == "nothing"
    if (chosen["copy-pays"], chosen["missing-card"]) != ("subscription", "pending"):
        return int(unseen)
    created = chosen["created-card"] == "none" and chosen["pending-without-card"] == "off"
    return 1 + created + unseen


def singles() -> Iterator[dict[str, str]]:
    """The defaults, and each other value alone."""
    yield DEFAULTS
    for name, values in SETTINGS.items():
        for value in values[1:]:
            yield {**DEFAULTS, name: value}


def pairwise() -> Iterator[dict[str, str]]:
    """Shops in which every two values of two settings meet at least once; each takes the most new pairs it can."""
    missing = {
        (one, other)
        for (first, ones), (second, others) in itertools.combinations(SETTINGS.items(), 2)
        for one in ((first, value) for value in ones)
        for other in ((second, value) for value in others)
    }
    while missing:
        chosen = dict(min(missing))
        for name, values in SETTINGS.items():
            if name not in chosen:
                chosen[name] = max(values, key=lambda value: _new_pairs((name, value), chosen, missing))
        yield {name: chosen[name] for name in SETTINGS}
        missing -= {pair for pair in missing if pair[0] in chosen.items() and pair[1] in chosen.items()}


def _new_pairs(setting: Setting, chosen: Mapping[str, str], missing: set[tuple[Setting, Setting]]) -> int:
    return sum((setting, other) in missing or (other, setting) in missing for other in chosen.items())


def in_words(chosen: Mapping[str, str]) -> str:
    """What differs from the defaults."""
    return ", ".join(f"{name} {value}" for name, value in chosen.items() if value != DEFAULTS[name]) or "the defaults"


@asynccontextmanager
async def renewed_under(chosen: Mapping[str, str], weeks: int, seed: int = 1) -> AsyncIterator[FidelityShop]:
    """A shop with these settings in which some weeks have passed."""
    from fidelity_shop import START, FidelityShop
    from merchant import open_merchant
    from rescues import rescue

    from blocks.commerce_layer.rate_limit import RateLimits

    options = ["--clock", START.isoformat(), "--seed", str(seed), "--limits", "documented", "--limit-clock", "virtual"]
    async with open_merchant(*options, *_options(chosen)) as merchant:
        if chosen["versioned paths"] == "on":
            merchant.sandbox.api_url += "/2026-05"
        ahead = {} if chosen["prepare_ahead"] == "off" else {"prepare_ahead": chosen["prepare_ahead"]}
        await merchant.install(RateLimits(), **POLICY, **ahead)
        shop = FidelityShop(merchant, weeks, orders_show_cards=chosen["shown-card"] == "token")
        await shop.open()
        await shop.run(lambda: rescue(merchant))
        yield shop


def _options(chosen: Mapping[str, str]) -> list[str]:
    options = []
    for name, value in chosen.items():
        if name == "count-blocked":
            options += ["--count-blocked"] if value == "on" else []
        elif name not in {"versioned paths", "prepare_ahead"}:
            options += [f"--{name}", value]
    return options


def faults(chosen: Mapping[str, str], verdict: Verdict) -> list[str]:
    """What is wrong, as text."""
    held = verdict.held if len({each.partition("@")[0] for each in verdict.held}) > needs_a_person(chosen) else []
    kinds = {
        "charged twice": verdict.charged_twice,
        "wrong card": verdict.wrong_card,
        "lost": verdict.lost,
        "held without need": held,
        "otherwise": verdict.otherwise,
    }
    return [f"{kind}: {each}" for kind, found in kinds.items() for each in found]


def main() -> int:
    """Run all shops on a Prefect server of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", type=int, default=2)
    parser.add_argument("--only", metavar="NAME", help="the defaults and these settings, without pairs")
    given = parser.parse_args()
    os.environ.update(LIGHT)
    from flows.cli.prefect_server import prefect_server

    with tempfile.TemporaryDirectory(prefix="perennial-fidelity-") as folder, prefect_server(Path(folder)) as server:
        os.environ.update(server.environment)  # before Prefect is first imported
        return asyncio.run(_renew_all(given.weeks, given.only))


async def _renew_all(weeks: int, only: str | None) -> int:
    from flows.cli.prefect_server import drain

    alone = [each for each in singles() if only is None or in_words(each).startswith(only) or each == DEFAULTS]
    shops = [*alone, *(each for each in pairwise() if only is None and each not in alone)]
    print(f"{'renewed':>8}{'twice':>7}{'wrong card':>12}{'lost':>6}{'held':>6}{'else':>6}{'s':>5}  setting", flush=True)
    wrong = 0
    for chosen in shops:
        began = time.monotonic()
        async with renewed_under(chosen, weeks) as shop:
            verdict = shop.judge()
        columns = (verdict.charged_twice, verdict.wrong_card, verdict.lost, verdict.held, verdict.otherwise)
        twice, card, lost, held, other = map(len, columns)
        seconds = time.monotonic() - began
        row = f"{verdict.renewals:>8}{twice:>7}{card:>12}{lost:>6}{held:>6}{other:>6}{seconds:>5.0f}"
        print(f"{row}  {in_words(chosen)}", flush=True)
        for fault in faults(chosen, verdict):
            wrong += 1
            print(f"  ! {fault}", flush=True)
    await drain()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
