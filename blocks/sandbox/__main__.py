"""`python -m blocks.sandbox`: Commerce Layer on a local port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from blocks.sandbox.control import command_line
from blocks.sandbox.control.sandbox import Sandbox
from blocks.sandbox.control.seeding import seed


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, serve until told to stop, return the exit status."""
    parser = command_line.parser()
    try:
        options = command_line.options_of(parser, arguments)
        settings, clock = command_line.settings_of(options), command_line.clock_of(options)
        plan = command_line.seed_plan_of(options)
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
    url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers; there Ctrl-C ends it
            loop.add_signal_handler(number, stop.set)
    if with_parent:
        _watch_parent(loop, stop)
    # Last: the process that reads it may send a signal at once.
    print(json.dumps(_connection_details(sandbox, url)), flush=True)
    if sys.stderr.isatty() and not with_parent:  # a program that starts the sandbox prints what its users need
        hint = f"Commerce Layer sandbox on {url}; controls at {url}/_sandbox/openapi.json; Ctrl-C ends it"
        print(hint, file=sys.stderr)
    await stop.wait()
    server.close()
    await sandbox.close()


def _connection_details(sandbox: Sandbox, url: str) -> dict[str, str]:
    settings = sandbox.shop.settings
    return {
        "url": url,
        "api_url": f"{url}/api",
        "auth_url": f"{url}/oauth/token",
        "organization": settings.organization,
        "mode": settings.mode,
        "client_id": settings.client_id,
        "client_secret": settings.client_secret,
        "database": str(sandbox.shop.database.path),
    }


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """
    Stop when the starting process ends: then its end of our standard input closes, or we get another parent.

    The kernel's own signal for this (PR_SET_PDEATHSIG) comes when the starting *thread* ends, which is too early.
    """
    parent = os.getppid()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # unbuffered: a buffer's lock can block the interpreter's exit
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stop.set)

    def check() -> None:
        if os.getppid() != parent:
            stop.set()
        loop.call_later(1.0, check)

    threading.Thread(target=wait, daemon=True).start()
    check()


if __name__ == "__main__":
    sys.exit(main())
