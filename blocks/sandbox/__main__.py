"""`python -m blocks.sandbox`: Commerce Layer on a local port."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import textwrap
import threading
from functools import partial
from pathlib import Path

from blocks.sandbox.control.sandbox import Sandbox
from blocks.sandbox.control.seeding import read_plan, seed
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.clock import Clock, instant_of
from blocks.sandbox.shop.failures import FAILURES
from blocks.sandbox.shop.list_lag import LONGEST_LAG_SECONDS

_EPILOG = """\
examples:
  python -m blocks.sandbox --port 8900 --seed-subscriptions 100 --failures declined=3,out_of_stock=1
  python -m blocks.sandbox --port 8900 --clock 2026-03-01T06:00:00Z --frozen
  curl -X POST localhost:8900/_sandbox/clock -d '{"advance": 86400}'

failures:
  %s

Simulated are tokens, JSON:API, order copies, subscriptions and their native engine, orders, limits, webhooks, faults.
What is known to differ from Commerce Layer, and what nobody outside knows about it, is told in docs/sandbox.md.
The controls are described at /_sandbox/openapi.json.
"""


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, serve until told to stop, return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings, clock = _settings(options), _clock(options)
        plan = read_plan(_plan(options))
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    with contextlib.ExitStack() as stack:
        folder = options.database or stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-"))
        database = Path(folder) if options.database else Path(folder) / "commerce-layer.sqlite"
        sandbox = Sandbox(settings, database, clock)
        if plan.subscriptions + plan.active + plan.foreign:
            seed(sandbox.shop, sandbox.engine, plan)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(sandbox, options.host, options.port, with_parent=options.with_parent))
    return 0


async def _serve(sandbox: Sandbox, host: str, port: int, *, with_parent: bool) -> None:
    server = await sandbox.start(host, port)
    address = server.sockets[0].getsockname()
    url = f"http://{host}:{address[1]}"
    settings = sandbox.shop.settings
    ready = {
        "url": url,
        "api_url": f"{url}/api",
        "auth_url": f"{url}/oauth/token",
        "organization": settings.organization,
        "mode": settings.mode,
        "client_id": settings.client_id,
        "client_secret": settings.client_secret,
        "database": str(sandbox.shop.database.path),
    }
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # not on Windows
            loop.add_signal_handler(number, stop.set)
    if with_parent:
        _watch_parent(loop, stop)
    print(json.dumps(ready), flush=True)  # last: whoever reads it may send a signal at once
    if sys.stderr.isatty() and not with_parent:  # whoever started it tells people what they need
        print(
            f"Commerce Layer sandbox on {url}; controls at {url}/_sandbox/openapi.json; Ctrl-C ends it", file=sys.stderr
        )
    await stop.wait()
    server.close()
    await sandbox.close()


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """
    Stop when the starting process ends: its end of our standard input closes, or we get another parent.

    The kernel's own signal for this (PR_SET_PDEATHSIG) comes when the starting *thread* ends, which is too early.
    """
    parent = os.getppid()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # unbuffered: a buffer's lock would trouble the interpreter's end
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stop.set)

    def look() -> None:
        if os.getppid() != parent:
            stop.set()
        loop.call_later(1.0, look)

    threading.Thread(target=wait, daemon=True).start()
    look()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m blocks.sandbox",
        description="A Commerce Layer organization on a local port, with a clock, faults and limits of its own.",
        usage="%(prog)s [options]",
        epilog=_EPILOG % "\n  ".join(textwrap.wrap(" ".join(FAILURES), 90)),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=34, width=110),
    )
    defaults = Settings()
    serve = parser.add_argument_group("where it listens and what it keeps")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=int, default=8900, help="port; 0 takes a free one (%(default)s)")
    serve.add_argument("--database", metavar="FILE", help="SQLite file to keep; default: a new one, removed at the end")
    serve.add_argument("--durable", action="store_true", help="wait for the disk at every commit")
    serve.add_argument("--with-parent", action="store_true", help="end when the starting process ends (reads stdin)")
    who = parser.add_argument_group("the organization")
    who.add_argument("--organization", default=defaults.organization, metavar="SLUG", help="slug (%(default)s)")
    who.add_argument("--mode", choices=("test", "live"), default=defaults.mode, help="environment (%(default)s)")
    who.add_argument("--client-id", default=defaults.client_id, metavar="ID", help="(%(default)s)")
    who.add_argument("--client-secret", default=defaults.client_secret, metavar="SECRET", help="(%(default)s)")
    who.add_argument(
        "--token-seconds",
        type=int,
        metavar="SECONDS",
        default=defaults.token_seconds,
        help="token lifetime (%(default)s)",
    )
    _add_behaviour(parser, defaults)
    _add_limits(parser, defaults)
    _add_seed(parser, defaults)
    return parser


def _add_behaviour(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("time and copies")
    group.add_argument("--clock", metavar="INSTANT", help="start at this instant, ISO 8601 (default: the real time)")
    group.add_argument("--rate", type=float, default=1.0, help="sandbox seconds per real second (%(default)s)")
    group.add_argument("--frozen", action="store_true", help="the clock moves only when told to; same as --rate 0")
    group.add_argument(
        "--queue-seconds",
        type=float,
        metavar="SECONDS",
        default=defaults.queue_seconds,
        help="copy waits (%(default)s)",
    )
    group.add_argument(
        "--copy-seconds", type=float, metavar="SECONDS", default=defaults.copy_seconds, help="copy takes (%(default)s)"
    )
    group.add_argument(
        "--copy-spread",
        type=float,
        metavar="SHARE",
        default=defaults.copy_spread,
        help="give or take this share (%(default)s)",
    )
    group.add_argument(
        "--slow-seconds",
        type=float,
        metavar="SECONDS",
        default=defaults.slow_seconds,
        help="a slow copy or placing takes (%(default)s)",
    )
    group.add_argument(
        "--list-lag",
        dest="list_lag_seconds",
        type=float,
        metavar="SECONDS",
        default=defaults.list_lag_seconds,
        help="lists show what was there so long ago (%(default)s)",
    )
    group.add_argument(
        "--promotion-percent",
        type=float,
        metavar="PERCENT",
        default=0.0,
        help="discount that apply_promotions gives (%(default)s)",
    )
    group.add_argument("--auto-capture", action="store_true", help="placed orders are paid, not just authorized")


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
        "--limit-clock", choices=("real", "virtual"), default=defaults.limit_clock, help="what windows are measured by"
    )
    group.add_argument(
        "--write-counters",
        choices=("shared", "per-method"),
        default=defaults.write_counters,
        help="one budget for all writes, as documented, or one per method, as recorded (%(default)s)",
    )
    group.add_argument(
        "--count-blocked", action="store_true", help="refused requests count, too, and prolong the block"
    )


def _add_seed(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    group = parser.add_argument_group("demo data")
    group.add_argument("--seed", type=int, default=defaults.seed, help="of ids, durations and chance (%(default)s)")
    group.add_argument(
        "--subscriptions", "--seed-subscriptions", dest="seed_subscriptions", type=int, default=0, metavar="N",
        help="due, adopted by Perennial",
    )  # fmt: skip
    group.add_argument("--seed-active", type=int, default=0, metavar="N", help="run by the native engine")
    group.add_argument("--seed-foreign", type=int, default=0, metavar="N", help="inactive, not adopted")
    group.add_argument("--due", metavar="INSTANT", help="next_run_at of the first one (default: a minute ago)")
    group.add_argument(
        "--spread-seconds", type=float, metavar="SECONDS", default=0.0, help="the others are due over so many seconds"
    )
    group.add_argument("--frequencies", metavar="MIX", default="", help="e.g. monthly=0.8,weekly=0.2 or counts")
    group.add_argument("--failures", metavar="MIX", default="", help="e.g. declined=3,out_of_stock=1 or shares below 1")
    group.add_argument("--instance", help="instance written into metadata.perennial")


def _settings(options: argparse.Namespace) -> Settings:
    if options.limit_scale <= 0:
        raise ValueError(f"--limit-scale is {options.limit_scale}; it must be above 0")
    if not 0 <= options.copy_spread <= 1:
        raise ValueError(f"--copy-spread is {options.copy_spread}; it lies between 0 and 1")
    if not 0 <= options.list_lag_seconds <= LONGEST_LAG_SECONDS:
        raise ValueError(f"--list-lag is {options.list_lag_seconds}; it lies between 0 and {LONGEST_LAG_SECONDS}")
    names = Settings.__dataclass_fields__
    return Settings(**{name: getattr(options, name) for name in names})


def _clock(options: argparse.Namespace) -> Clock:
    if options.rate < 0:
        raise ValueError(f"--rate is {options.rate}; it cannot be negative")
    return Clock(instant_of(options.clock) if options.clock else None, 0.0 if options.frozen else options.rate)


def _plan(options: argparse.Namespace) -> dict[str, object]:
    return {
        "subscriptions": options.seed_subscriptions,
        "active": options.seed_active,
        "foreign": options.seed_foreign,
        "due": options.due,
        "spread_seconds": options.spread_seconds,
        "frequencies": _mix(options.frequencies) or {"monthly": 1.0},
        "failures": _mix(options.failures),
        "instance": options.instance,
    }


def _mix(text: str) -> dict[str, float]:
    mix = {}
    for part in filter(None, text.split(",")):
        name, equals, amount = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} should be name=count or name=share")
        mix[name] = float(amount) if "." in amount else int(amount)
    return mix


if __name__ == "__main__":
    sys.exit(main())
