"""The command line of `python -m blocks.sandbox`: its options, and the settings that follow from them."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from blocks.sandbox.control.seeding import SeedPlan, read_plan
from blocks.sandbox.control.settings_file import defaults_of
from blocks.sandbox.http.faults import LATEST_SECONDS
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.failure_kinds import FAILURES
from blocks.sandbox.shop.list_lag import LONGEST_LAG_SECONDS
from blocks.sandbox.shop.virtual_clock import Clock, instant_of

_EPILOG = """\
examples:
  python -m blocks.sandbox --port 8900 --seed-subscriptions 100 --failures declined=3,out_of_stock=1
  python -m blocks.sandbox --port 8900 --clock 2026-03-01T06:00:00Z --frozen
  python -m blocks.sandbox --as my-shop.json
  curl -X POST localhost:8900/_sandbox/clock -d '{"advance": 86400}'

failures:
  %s

It simulates tokens, JSON:API, order copies, subscriptions and their native engine, orders, limits, webhooks and faults.
docs/sandbox.md lists how it differs from Commerce Layer, and what is not publicly known about Commerce Layer.
/_sandbox/openapi.json describes the controls.
"""


def parser() -> argparse.ArgumentParser:
    """The options, in groups."""
    made = argparse.ArgumentParser(
        prog="python -m blocks.sandbox",
        description="A Commerce Layer organization on a local port, with a clock, faults and limits of its own.",
        usage="%(prog)s [options]",
        epilog=_EPILOG % "\n  ".join(textwrap.wrap(" ".join(FAILURES), 90)),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=34, width=110),
    )
    defaults = Settings()
    _add_serving(made)
    _add_organization(made, defaults)
    _add_time_and_copies(made, defaults)
    _add_cards(made, defaults)
    _add_subscriptions(made, defaults)
    _add_ends(made, defaults)
    _add_limits(made, defaults)
    _add_seed(made, defaults)
    return made


def options_of(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """
    The options that are given. The file that `--as` names has the defaults of those that are not.

    Raises:
        ValueError, TypeError: names the file, the setting and what is possible.
    """
    given = made.parse_args(arguments)
    if given.settings_file is None:
        return given
    made.set_defaults(**defaults_of(made, Path(given.settings_file)))
    return made.parse_args(arguments)


def _add_serving(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("address and database")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    group.add_argument("--port", type=int, default=8900, help="port; 0 takes a free one (%(default)s)")
    group.add_argument("--database", metavar="FILE", help="SQLite file to keep; default: a new one, removed at the end")
    group.add_argument("--durable", action="store_true", help="wait for the disk at every commit")
    group.add_argument("--with-parent", action="store_true", help="end when the starting process ends (reads stdin)")


def _add_organization(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("the organization")
    group.add_argument(
        "--as",
        dest="settings_file",
        metavar="FILE",
        help="behave as this file says, a JSON object of options and values; options that are given win",
    )
    group.add_argument("--organization", default=defaults.organization, metavar="SLUG", help="slug (%(default)s)")
    group.add_argument("--mode", choices=("test", "live"), default=defaults.mode, help="environment (%(default)s)")
    _add_choice(group, "meta", ("resource", "document"), defaults.meta, "where mode and organization_id stand")
    group.add_argument("--client-id", default=defaults.client_id, metavar="ID", help="(%(default)s)")
    group.add_argument("--client-secret", default=defaults.client_secret, metavar="SECRET", help="(%(default)s)")
    group.add_argument(
        "--token-seconds",
        type=int,
        metavar="SECONDS",
        default=defaults.token_seconds,
        help="lifetime (%(default)s)",
    )


def _add_time_and_copies(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("time and copies")
    group.add_argument("--clock", metavar="INSTANT", help="start at this instant, ISO 8601 (default: the real time)")
    group.add_argument("--rate", type=float, default=1.0, help="sandbox seconds per real second (%(default)s)")
    group.add_argument("--frozen", action="store_true", help="the clock moves only on request; same as --rate 0")
    for name, member, unit, help_text in (
        ("--queue-seconds", "queue_seconds", "SECONDS", "how long a copy waits before it starts"),
        ("--copy-seconds", "copy_seconds", "SECONDS", "how long a copy takes"),
        ("--copy-spread", "copy_spread", "SHARE", "by which share it may take longer or shorter"),
        ("--slow-seconds", "slow_seconds", "SECONDS", "how long a slow copy or placing takes"),
        ("--list-lag", "list_lag_seconds", "SECONDS", "how old the data is that lists show"),
        ("--late-creations", "late_creations", "SECONDS", "how late a created copy can be read, by its created_at"),
        ("--promotion-percent", "promotion_percent", "PERCENT", "discount that apply_promotions gives"),
    ):
        default = getattr(defaults, member)
        text = f"{help_text} (%(default)s)"
        group.add_argument(name, dest=member, type=float, metavar=unit, default=default, help=text)
    prices, help_text = ("price-list", "source-order"), "where copies have the prices of SKUs from that a list had"
    _add_choice(group, "copy_prices", prices, defaults.copy_prices, help_text)
    group.add_argument("--auto-capture", action="store_true", help="placed orders are paid, not just authorized")


def _add_cards(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("which card pays")
    for name, choices, help_text in (
        ("copy_pays", ("source-order", "newest", "subscription"), "whose card pays for a copy made through the API"),
        ("missing_card", ("pending", "newest"), "where that card is gone: the order stays pending, or this pays"),
        ("native_pays", ("subscription", "source-order"), "whose card pays for a run of the native engine"),
        ("created_card", ("source-order", "none"), "the card of a subscription that is created through the API"),
        ("shown_card", ("token", "nothing"), "what an order shows of the card that pays for it"),
    ):
        _add_choice(group, name, choices, getattr(defaults, name), help_text)


def _add_subscriptions(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("subscriptions")
    for name, choices, help_text in (
        ("occurrencies", ("runs", "successes"), "what occurrencies counts"),
        ("past_expiry", ("keeps", "inactive"), "the status of an active subscription past expires_at"),
        ("pending_without_card", ("on", "off"), "an active subscription is pending when no card can pay for it"),
    ):
        _add_choice(group, name, choices, getattr(defaults, name), help_text)


def _add_ends(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("what failures leave")
    for name, choices, help_text in (
        ("failed_target", ("pending", "draft"), "status of an order that a copy could not place"),
        ("aborted_leaves", ("nothing", "order"), "what an aborted copy leaves: nothing, or a pending order"),
        ("refused_place", ("rolls-back", "keeps"), "what a refused _place does to the rest of its PATCH"),
        ("refusal_shows", ("error", "nothing"), "what a refused placing leaves on its order"),
        ("placed_again", ("charges-once", "charges-again"), "what _place does to an order that is placed"),
        ("copied_source", ("unchanged", "changes"), "whether copying an order changes its updated_at"),
    ):
        _add_choice(group, name, choices, getattr(defaults, name), help_text)


def _add_choice(
    group: argparse._ArgumentGroup, name: str, choices: tuple[str, ...], default: str, help_text: str
) -> None:
    option = f"--{name.replace('_', '-')}"
    group.add_argument(option, choices=choices, default=default, help=f"{help_text} (%(default)s)")


def _add_limits(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("rate limits")
    group.add_argument("--limits", choices=("documented", "off"), default=defaults.limits, help="(%(default)s)")
    group.add_argument(
        "--limit-scale",
        type=float,
        metavar="FACTOR",
        default=1.0,
        help="length of all windows; 0.1 = ten times shorter (%(default)s)",
    )
    group.add_argument(
        "--limit-clock",
        choices=("real", "virtual"),
        default=defaults.limit_clock,
        help="the clock that measures windows",
    )
    group.add_argument(
        "--write-counters",
        choices=("shared", "per-method"),
        default=defaults.write_counters,
        help="one budget for all writes, as documented, or one per method, as recorded (%(default)s)",
    )
    group.add_argument("--count-blocked", action="store_true", help="refused requests count too, and prolong the block")


def _add_seed(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("demo data")
    group.add_argument("--seed", type=int, default=defaults.seed, help="seed of ids and random choices (%(default)s)")
    group.add_argument(
        "--subscriptions", "--seed-subscriptions", dest="seed_subscriptions", type=int, default=0, metavar="N",
        help="due, adopted by Perennial",
    )  # fmt: skip
    group.add_argument("--seed-active", type=int, default=0, metavar="N", help="run by the native engine")
    group.add_argument("--seed-foreign", type=int, default=0, metavar="N", help="inactive, not adopted")
    group.add_argument("--due", metavar="INSTANT", help="next_run_at of the first one (default: a minute ago)")
    group.add_argument(
        "--spread-seconds", type=float, metavar="SECONDS", default=0.0, help="seconds over which the others are due"
    )
    group.add_argument("--frequencies", metavar="MIX", default="", help="e.g. monthly=0.8,weekly=0.2 or counts")
    group.add_argument("--failures", metavar="MIX", default="", help="e.g. declined=3,out_of_stock=1 or shares below 1")
    group.add_argument("--instance", help="instance written into metadata.perennial")


def settings_of(options: argparse.Namespace) -> Settings:
    """
    The settings that the options ask for.

    Raises:
        ValueError: names the option, its value and what is possible.
    """
    if options.limit_scale <= 0:
        raise ValueError(f"--limit-scale is {options.limit_scale}; it must be above 0")
    if not 0 <= options.copy_spread <= 1:
        raise ValueError(f"--copy-spread is {options.copy_spread}; it lies between 0 and 1")
    if not 0 <= options.list_lag_seconds <= LONGEST_LAG_SECONDS:
        raise ValueError(f"--list-lag is {options.list_lag_seconds}; it lies between 0 and {LONGEST_LAG_SECONDS}")
    if not 0 <= options.late_creations <= LATEST_SECONDS:
        raise ValueError(f"--late-creations is {options.late_creations}; it lies between 0 and {LATEST_SECONDS}")
    names = Settings.__dataclass_fields__
    return Settings(**{name: getattr(options, name) for name in names})


def clock_of(options: argparse.Namespace) -> Clock:
    """
    The clock to start with.

    Raises:
        ValueError: names the option, its value and what is possible.
    """
    if options.rate < 0:
        raise ValueError(f"--rate is {options.rate}; it cannot be negative")
    return Clock(instant_of(options.clock) if options.clock else None, 0.0 if options.frozen else options.rate)


def seed_plan_of(options: argparse.Namespace) -> SeedPlan:
    """
    What to seed before the start.

    Raises:
        ValueError, TypeError: names what is wrong.
    """
    given: dict[str, Any] = {
        "subscriptions": options.seed_subscriptions,
        "active": options.seed_active,
        "foreign": options.seed_foreign,
        "due": options.due,
        "spread_seconds": options.spread_seconds,
        "frequencies": _mix(options.frequencies) or {"monthly": 1.0},
        "failures": _mix(options.failures),
        "instance": options.instance,
    }
    return read_plan(given)


def _mix(text: str) -> dict[str, float]:
    mix = {}
    for part in filter(None, text.split(",")):
        name, equals, amount = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} should be name=count or name=share")
        mix[name] = float(amount) if "." in amount else int(amount)
    return mix
